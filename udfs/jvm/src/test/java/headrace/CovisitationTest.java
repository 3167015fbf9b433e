package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.types.Row;
import org.apache.flink.util.FlinkRuntimeException;
import org.junit.jupiter.api.Test;

/** Baskets, Totals and Together one after another, as the job has them. */
class CovisitationTest {
  private static final long DAY_MS = Baskets.DAY_MS;
  private static final Map<String, Object> PARAMETERS = Map.of("cap", 30, "half_life_days", 14.0, "horizon_days", 90,
      "shrink", 5.0, "history", 50, "traded_max", 1000, "actions", String.join(" ", Clicks.ACTIONS), "viewed",
      "view click", "touched", "view click like share rate cart");
  private final Harness baskets = new Harness(new Baskets(), PARAMETERS,
      "user_id event_id ts_ms append_ms action item_id", "user_id");
  private final Harness totals = new Harness(new Totals(), PARAMETERS, "item kind bucket sign others as_of_ms",
      "item kind");
  private final Harness together = new Harness(new Together(), PARAMETERS, "item kind changes", "item kind");
  private final Map<String, Row> lists = new TreeMap<>(); // item and kind -> its newest row

  CovisitationTest() throws Exception {}

  private void act(String user, String item, long t, String action) throws Exception {
    var id = user + item + t + action;
    var changes = new HashMap<List<Object>, List<byte[]>>();
    for (var row : baskets.insert(t, user, id, t, t + 1, (byte) Clicks.ACTIONS.indexOf(action), item)) {
      var values = new Object[row.getArity()];
      for (int i = 0; i < values.length; i++) values[i] = row.getField(i);
      for (var change : totals.insert(t, values)) {
        var target = List.of((Object) change.<String>getFieldAs(0), row.<Byte>getFieldAs(1));
        changes.computeIfAbsent(target, each -> new ArrayList<>()).add(change.getFieldAs(1));
      }
    }
    for (var entry : changes.entrySet()) {
      Object target = entry.getKey().get(0), kind = entry.getKey().get(1);
      var rows = together.insert(t, target, kind, entry.getValue().toArray(byte[][]::new));
      lists.put(target + "/" + kind, rows.get(0));
    }
  }

  /** The others of a list, each with its counts by bucket. */
  private Map<String, Map<Integer, Integer>> cells(String list) {
    var found = new TreeMap<String, Map<Integer, Integer>>();
    var cells = ByteBuffer.wrap(lists.get(list).<byte[]>getFieldAs(0)).order(ByteOrder.LITTLE_ENDIAN);
    while (cells.hasRemaining()) {
      var name = new byte[cells.getShort()];
      var other = new byte[cells.getShort()];
      cells.get(name).get(other);
      found.put(new String(name), Together.Other.read(other).users);
    }
    return found;
  }

  @Test
  void aPairIsCountedUnderBothItemsAndTakenBack() throws Exception {
    act("ann", "lamp", 10 * DAY_MS, "view");
    act("ann", "bulb", 10 * DAY_MS + 1, "view");
    act("bob", "lamp", 11 * DAY_MS, "purchase");
    act("bob", "wick", 11 * DAY_MS + 1, "purchase");
    assertEquals(Map.of("lamp", Map.of(10, 1), "bulb", Map.of(10, 1)), cells("lamp/0"));
    assertEquals(cells("lamp/0"), cells("bulb/0"));
    assertEquals(Map.of("lamp", Map.of(11, 1), "wick", Map.of(11, 1)), cells("lamp/1"));
    assertEquals(Map.of("lamp", Map.of(10, 1, 11, 1), "bulb", Map.of(10, 1), "wick", Map.of(11, 1)), cells("/2"));
    var buckets = List.of("lamp/0", "lamp/1", "/2").stream().map(list -> lists.get(list).getField(1)).toList();
    assertEquals(List.of(10, 11, 11), buckets);
    act("bob", "wick", 12 * DAY_MS, "refund");
    assertEquals(Map.of(), cells("wick/1"));
    assertEquals(Map.of("lamp", Map.of(10, 1, 11, 1), "bulb", Map.of(10, 1)), cells("/2"));
  }

  /** Each total is sent on where its three bits change, not where a day begins. */
  @Test
  void aNewDayTellsNobody() throws Exception {
    for (int n = 0; n < 40; n++) act("u" + n, "best", 10 * DAY_MS + n, "view");
    for (int n = 0; n < 20; n++) {
      act("ann" + n, "best", 10 * DAY_MS + 50, "view");
      act("ann" + n, "i" + n, 10 * DAY_MS + 60, "view");
    }
    long told = totals.counter("totals_told");
    act("bob", "best", 11 * DAY_MS, "view");
    assertEquals(told, totals.counter("totals_told"));
    for (int n = 0; n < 8; n++) act("eve" + n, "best", 11 * DAY_MS + n, "view"); // from 1.5 to 1.75 times 64
    assertEquals(told + 20, totals.counter("totals_told"));
  }

  @Test
  void aRowThatFailsCostsItself() throws Exception {
    assertEquals(List.of(), baskets.insert(0, "ann", "e", DAY_MS, DAY_MS, (byte) 99, "lamp"));
    assertEquals(List.of(), totals.insert(0, "lamp", (byte) 0, 1L, (byte) 1, new String[] {"a", "a"}, 0L));
    assertEquals(List.of(), together.insert(0, "lamp", (byte) 0, new byte[][] {{1, 2}}));
    for (var each : List.of(baskets, totals, together)) assertEquals(1, each.counter("internal"));
    act("ann", "lamp", 10 * DAY_MS, "view");
    assertEquals(Map.of("lamp", Map.of(10, 1)), cells("lamp/0"));
  }

  @Test
  void aFaultOfTheStateBackendIsNoRows() {
    var faults = new Faults(CovisitationTest.class, new UnregisteredMetricsGroup());
    assertThrows(FlinkRuntimeException.class, () -> faults.of(new FlinkRuntimeException("disk"), "a row"));
    assertEquals("IllegalStateException: no", faults.of(new IllegalStateException("no"), "a row"));
  }
}
