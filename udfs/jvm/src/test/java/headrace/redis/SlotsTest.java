package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** Slots of keys, against figures of the cluster's specification and of a Redis. */
class SlotsTest {
  private static int slot(String key) {
    return Slots.of(key.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void aSlotIsTheCrcOfTheKey() {
    assertEquals(0x31c3, slot("123456789"));
    assertEquals(0, slot(""));
    assertEquals(12_182, slot("foo"));
  }

  @Test
  void whatTheFirstBracesHoldDecides() {
    assertEquals(slot("user1000"), slot("{user1000}.following"));
    assertEquals(slot("bar"), slot("foo{bar}{zap}"));
    assertEquals(slot("{bar"), slot("foo{{bar}}zap"));
    assertEquals(0x31c3 % Slots.COUNT, slot("x{123456789}"));
  }

  @Test
  void emptyOrOpenBracesDecideNothing() {
    int whole = slot("foo{}{bar}");
    assertEquals(8_363, whole);
    assertEquals(slot("foo{bar"), slot("{foo{bar}"));
  }
}
