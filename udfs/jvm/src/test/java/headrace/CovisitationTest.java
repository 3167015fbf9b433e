package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.util.HashMap;
import java.util.LinkedHashMap;
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
    var changes = new HashMap<List<Object>, ByteArrayOutputStream>();
    for (var row : baskets.insert(t, user, id, t, t + 1, (byte) Clicks.ACTIONS.indexOf(action), item)) {
      var values = new Object[row.getArity()];
      for (int i = 0; i < values.length; i++) values[i] = row.getField(i);
      for (var change : totals.insert(t, values)) {
        var target = List.of((Object) change.<String>getFieldAs(0), row.<Byte>getFieldAs(1));
        changes.computeIfAbsent(target, each -> new ByteArrayOutputStream()).writeBytes(change.getFieldAs(1));
      }
    }
    for (var entry : changes.entrySet()) {
      Object target = entry.getKey().get(0), kind = entry.getKey().get(1);
      var rows = together.insert(t, target, kind, entry.getValue().toByteArray());
      lists.put(target + "/" + kind, rows.get(0));
    }
  }

  /** The scores of a list by item, the best first. */
  private Map<String, Double> scores(String list) {
    var found = new LinkedHashMap<String, Double>();
    double norm = lists.get(list).getFieldAs(1);
    for (var each : Ranking.Scored.read(lists.get(list).getFieldAs(0))) found.put(each.item(), each.score() / norm);
    return found;
  }

  private static void assertScores(Map<String, Double> expected, Map<String, Double> found) {
    assertEquals(expected.keySet(), found.keySet());
    expected.forEach((item, score) -> assertEquals(score, found.get(item), 1e-12, item));
  }

  @Test
  void aPairIsCountedUnderBothItemsAndTakenBack() throws Exception {
    act("ann", "lamp", 14 * DAY_MS, "view");
    act("ann", "bulb", 14 * DAY_MS + 1, "view");
    act("bob", "lamp", 28 * DAY_MS, "purchase");
    act("bob", "wick", 28 * DAY_MS + 1, "purchase");
    double once = 1.0 / (1 + 5), old = .5; // a half-life
    assertScores(Map.of("bulb", once), scores("lamp/0"));
    assertScores(Map.of("lamp", once), scores("bulb/0"));
    assertScores(Map.of("wick", once), scores("lamp/1"));
    assertScores(Map.of("lamp", once), scores("wick/1"));
    assertScores(Map.of("lamp", 1 + old, "bulb", old, "wick", 1.0), scores("/2"));
    assertEquals(List.of("lamp", "wick", "bulb"), List.copyOf(scores("/2").keySet()));
    act("bob", "wick", 29 * DAY_MS, "refund");
    assertScores(Map.of(), scores("wick/1"));
    assertScores(Map.of(), scores("lamp/1"));
    assertScores(Map.of("lamp", 1 + old, "bulb", old), scores("/2"));
  }

  /** Each total is sent on where its two bits change, not where a day begins. */
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
    for (int n = 0; n < 17; n++) act("eve" + n, "best", 11 * DAY_MS + n, "view"); // from 1.5 to 2 times 64
    assertEquals(told + 20, totals.counter("totals_told"));
  }

  @Test
  void aRowThatFailsCostsItself() throws Exception {
    assertEquals(List.of(), baskets.insert(0, "ann", "e", DAY_MS, DAY_MS, (byte) 99, "lamp"));
    assertEquals(List.of(), totals.insert(0, "lamp", (byte) 0, 1L, (byte) 1, new String[] {"a", "a"}, 0L));
    assertEquals(List.of(), together.insert(0, "lamp", (byte) 0, new byte[] {1, 2}));
    for (var each : List.of(baskets, totals, together)) assertEquals(1, each.counter("internal"));
    act("ann", "lamp", 10 * DAY_MS, "view");
    assertScores(Map.of("lamp", 1.0), scores("/2"));
  }

  @Test
  void aFaultOfTheStateBackendIsNoRows() {
    var faults = new Faults(CovisitationTest.class, new UnregisteredMetricsGroup());
    assertThrows(FlinkRuntimeException.class, () -> faults.of(new FlinkRuntimeException("disk"), "a row"));
    assertEquals("IllegalStateException: no", faults.of(new IllegalStateException("no"), "a row"));
  }
}
