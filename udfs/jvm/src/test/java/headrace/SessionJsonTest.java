package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.Test;

class SessionJsonTest {
  static final List<String> ACTIONS = List.of("view", "click", "like", "share", "purchase", "refund", "rate", "ignore",
      "dislike", "block", "search", "cart", "uncart");
  static final long START_MS = 1_762_000_200_000L; // Saturday 2025-11-01 12:30:00 UTC

  record Event(String item, String action, long t) {}

  static byte[] recent(Event... events) {
    var all = ByteBuffer.allocate(10_000).order(ByteOrder.LITTLE_ENDIAN);
    for (var each : events) {
      var event = new headrace.Event();
      event.t = each.t;
      event.action = (byte) ACTIONS.indexOf(each.action);
      event.item = each.item.getBytes(StandardCharsets.UTF_8);
      all.put(event.write());
    }
    return java.util.Arrays.copyOf(all.array(), all.position());
  }

  static byte[] counters(long length, long[] numbers, double amount, Map<String, Integer> counts) {
    var buffer = ByteBuffer.allocate(80 + 8 * ACTIONS.size()).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(START_MS).putLong(START_MS + length);
    for (long number : numbers) buffer.putLong(number);
    buffer.putDouble(amount);
    for (var action : ACTIONS) buffer.putLong(counts.getOrDefault(action, 0));
    return buffer.array();
  }

  static JsonNode json(String zone, byte[] counters, String sessionId, byte[] recent) throws Exception {
    var function = new SessionJson();
    function.open(ACTIONS.toArray(String[]::new), zone);
    var value = function.eval(counters, sessionId == null ? null : StringData.fromString(sessionId), recent);
    return new ObjectMapper().readTree(value);
  }

  static byte[] oneEvent(String action) {
    return counters(0, new long[] {9, 1, 0, 0, 0, 0, 0}, 0, Map.of(action, 1));
  }

  @Test
  void aSessionOfFourEvents() throws Exception {
    var counts = Map.of("view", 1, "search", 1, "click", 1, "purchase", 1);
    var got = json("UTC", counters(90_000, new long[] {9, 4, 2, 1, 3, 5, 1}, 5.1, counts), "s\"é", recent());
    assertEquals("s\"é", got.get("session_id").textValue());
    assertEquals(START_MS, got.get("started_ms").longValue());
    assertEquals(START_MS + 90_000, got.get("ended_ms").longValue());
    assertEquals(9, got.get("as_of_ms").longValue());
    assertEquals(0.025, got.get("duration_h").doubleValue());
    assertEquals(4, got.get("events").intValue());
    assertEquals(2, got.get("page_views").intValue());
    assertEquals(1, got.get("interactions").intValue());
    assertEquals(1, got.get("conversions").intValue());
    assertEquals(0, got.get("bounce").intValue());
    assertEquals(2, got.get("distinct_items").intValue());
    assertEquals(1, got.get("distinct_categories").intValue());
    assertEquals(5.1, got.get("spend").doubleValue());
    assertEquals(30.0, got.get("mean_dwell_s").doubleValue());
    assertEquals(1, got.get("count_purchase").intValue());
    assertEquals(0.25, got.get("rate_purchase").doubleValue());
    assertEquals(0.0, got.get("rate_like").doubleValue());
    assertEquals(3, got.get("late").intValue());
    assertEquals(5, got.get("repeats").intValue());
    assertEquals(1, got.get("recent_truncated").intValue());
    assertEquals(0, got.get("recent_items").size());
    assertEquals(22 + 2 * ACTIONS.size(), got.size());
  }

  @Test
  void cartAndUncartAreInteractionsAndNoConversions() throws Exception {
    var counts = Map.of("view", 1, "cart", 2, "uncart", 1);
    var got = json("UTC", counters(0, new long[] {9, 4, 0, 0, 0, 0, 0}, 0, counts), null, recent());
    assertEquals(3, got.get("interactions").intValue());
    assertEquals(0, got.get("conversions").intValue());
    assertEquals(0.5, got.get("rate_cart").doubleValue());
  }

  @Test
  void aSingleEventIsABounceAndDwellsNowhere() throws Exception {
    var got = json("UTC", oneEvent("view"), null, recent());
    assertEquals(1, got.get("bounce").intValue());
    assertEquals(0.0, got.get("mean_dwell_s").doubleValue());
    assertEquals("", got.get("session_id").textValue());
  }

  @Test
  void ratesOfLongSessionsAreExactToo() throws Exception {
    var got = json("UTC", counters(7, new long[] {9, 301, 0, 0, 0, 0, 0}, -1e-7, Map.of("view", 100)), null, recent());
    assertEquals(100.0 / 301, got.get("rate_view").doubleValue());
    assertEquals(7 / 1000.0 / 300, got.get("mean_dwell_s").doubleValue());
    assertEquals(-1e-7, got.get("spend").doubleValue());
  }

  @Test
  void theCalendarIsThatOfTheZone() throws Exception {
    int[][] expected = {{12, 5}, {18, 5}, {2, 6}, {8, 5}};
    var zones = List.of("UTC", "Asia/Kathmandu", "Pacific/Kiritimati", "America/New_York");
    for (int i = 0; i < zones.size(); i++) {
      var got = json(zones.get(i), oneEvent("view"), null, recent());
      assertEquals(expected[i][0], got.get("start_hour").intValue(), zones.get(i));
      assertEquals(expected[i][1], got.get("start_weekday").intValue(), zones.get(i));
    }
  }

  @Test
  void recentEventsComeNewestFirstAndSurviveAnyText() throws Exception {
    var text = "\"\\é☕\u0000\u001f\n𝄞";
    var events = recent(new Event("a", "view", 1), new Event(text, "purchase", 3), new Event("", "search", 20_000));
    var got = json("UTC", oneEvent("view"), null, events);
    assertEquals("[\"\"," + new ObjectMapper().writeValueAsString(text) + ",\"a\"]", got.get("recent_items").toString());
    assertEquals("[\"search\",\"purchase\",\"view\"]", got.get("recent_actions").toString());
    assertEquals("[20000,3,1]", got.get("recent_ts_ms").toString());
  }

  @Test
  void wholeNumbersOfEveryLengthAreWritten() {
    var json = new JsonBytes();
    for (long value = 1; value > 0 && value < Long.MAX_VALUE / 10; value *= 10) {
      for (long near : new long[] {value - 1, value, value + 1, -value}) {
        json.clear();
        json.number(near);
        assertEquals(Long.toString(near), new String(json.take(), StandardCharsets.US_ASCII));
      }
    }
    json.clear();
    json.number(Long.MAX_VALUE);
    assertEquals(Long.toString(Long.MAX_VALUE), new String(json.take(), StandardCharsets.US_ASCII));
  }
}
