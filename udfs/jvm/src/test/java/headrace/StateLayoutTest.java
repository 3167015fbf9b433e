package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Old bytes of every state, restored by today's code. The bytes here and in state-0.1.0.txt were written by the classes
 * of 0.1.0. If a test is red, savepoints of that release can no longer be used: change the code, not the bytes.
 */
class StateLayoutTest {
  static List<String[]> published() throws Exception {
    try (var lines = new BufferedReader(
        new InputStreamReader(StateLayoutTest.class.getResourceAsStream("/state-0.1.0.txt")))) {
      return lines.lines().map(line -> line.split(" ")).toList();
    }
  }

  @Test
  void everyStateClassIsPublished() throws Exception {
    assertEquals(StateBytes.CLASSES.stream().map(Class::getName).toList(),
        published().stream().map(line -> line[0]).toList());
  }

  @ParameterizedTest
  @MethodSource("published")
  void flinkRestoresTheStateOfThen(String name, String snapshot, String value) throws Exception {
    var state = Class.forName(name);
    var bytes = new StateBytes(state);
    assertTrue(bytes.canRestore(Base64.getDecoder().decode(snapshot)), name + ": StateMigrationException");
    Object found = bytes.read(Base64.getDecoder().decode(value)), expected = StateBytes.filled(state);
    for (var field : StateBytes.fields(state)) {
      assertArrayEquals(new Object[] {field.get(expected)}, new Object[] {field.get(found)}, field.getName());
    }
  }

  /** A view's state has the name of its argument. */
  @ParameterizedTest
  @CsvSource(delimiter = ';', value = {
      "UserHistory; seen MapView<String, Boolean> | log ListView<byte[]>",
      "Baskets; days MapView<Long, byte[]> | trades MapView<String, byte[]>",
      "Totals; together MapView<String, Long>",
      "Together; others MapView<String, byte[]>",
      "ArmSums; older MapView<Long, byte[]>",
      "Fold; parameters MapView<Long, String> | moments MapView<Long, String> | values MapView<Long, String>"
          + " | nodes MapView<Long, Long>",
      "Intake; frames MapView<Long, byte[]> | numbers MapView<String, Long> | counts MapView<String, Long>"
          + " | held MapView<String, Intake$Held> | invited MapView<String, Boolean> | cohorts MapView<String, String>",
  })
  void viewsHaveTheirNamesAndTypes(String function, String views) throws Exception {
    var eval = Arrays.stream(Class.forName("headrace." + function).getMethods())
        .filter(method -> method.getName().equals("eval")).findFirst().get();
    var found = Arrays.stream(eval.getParameters()).map(each -> each.getName() + " "
        + each.getParameterizedType().getTypeName().replaceAll("(\\w+\\.)+", "")).toList();
    for (var view : views.split(" [|] ")) assertTrue(found.contains(view), view + " in " + found);
  }

  @Test
  void events() {
    var hex = "20000807060504030201b27f10a59b01000003000000f1ffffffffffffff04c3a96c";
    for (String of : List.of(hex, hex + hex)) {
      var event = Event.read(bytes(of), of.length() / 2 - 34);
      assertEquals(0x0102030405060708L, event.id);
      assertEquals(1_768_000_880_562L, event.t);
      assertEquals(List.of(3, false), List.of(event.session, event.emitted));
      assertEquals(List.of(-15L, (byte) 4), List.of(event.category, event.action));
      assertArrayEquals(bytes("c3a96c"), event.item);
      assertEquals(hex, HexFormat.of().formatHex(event.write()));
    }
    var recent = bytes(hex + hex);
    assertTrue(Recent.has(recent, 0x0102030405060708L) && Recent.hasItem(recent, 34, bytes("c3a96c")));
    assertEquals(List.of(3, -15L), List.of(Recent.session(recent, 34), Recent.category(recent, 34)));
  }

  @Test
  void days() {
    var hex = "0500000001000000010000000000000003000000c3a93101000000feffffffffffffff03000000c3"
        + "a93201000000000000000001000003000000c3a933";
    var day = Day.read(bytes(hex));
    assertEquals(5, day.traded);
    assertEquals(List.of(Map.of("é1", 1L), Map.of("é2", -2L), Map.of("é3", 1L << 40)), day.firsts);
    assertEquals(hex, HexFormat.of().formatHex(day.write()));
  }

  @Test
  void trades() {
    var hex = "ffffffffffffffff02000000030000000000000004000000000000000001000005000000000000000002000006000000";
    var trades = Trade.read(bytes(hex));
    assertEquals(Map.of(-1L, new Trade(2, 3, 4), 1L << 40, new Trade(5, 1L << 41, 6)), trades);
    assertEquals(hex, HexFormat.of().formatHex(Trade.write(trades)));
  }

  @Test
  void othersOfAnItem() {
    var hex = "204e0000000000000000f43f1f4e000007000000214e000008000000";
    var other = Together.Other.read(bytes(hex));
    assertEquals(List.of(20_000, 1.25), List.of(other.newest, other.rounded));
    assertEquals(new TreeMap<>(Map.of(19_999, 7, 20_001, 8)), other.users);
    assertEquals(hex, HexFormat.of().formatHex(other.write()));
  }

  private static byte[] bytes(String hex) {
    return HexFormat.of().parseHex(hex);
  }
}
