package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.api.dataview.ListView;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class UserHistoryTest {
  private static final long MIN = Clicks.MINUTE_MS;

  @Test
  void theWatermarkClosesASpanOnceAndForgetsTheUser() throws Exception {
    var clicks = new Clicks(Map.of());
    clicks.view("a", 0, "lamp");
    clicks.view("b", 5, "rug");
    assertEquals(List.of(), clicks.harness.advance(45 * MIN));
    var closed = Clicks.ofKind(UserHistory.CLOSED, clicks.harness.advance(45 * MIN + 1));
    assertEquals(List.of("0 5 2"), spans(closed));
    assertEquals(List.of(), clicks.harness.advance(1440 * MIN));
    clicks.harness.advance(31L * 1440 * MIN);
    assertEquals(null, clicks.harness.state("u"));
  }

  @Test
  void aRunThatRestoresShowsTheLastStateOfEveryUserOnce() throws Exception {
    var running = new Clicks(Map.of());
    var restoring = new Clicks(Map.of("restoring", true));
    var expected = new HashMap<List<Object>, Row>();
    for (int i = 0; i < 100; i++) {
      var user = "user" + i % 7;
      var rows = running.harness.insert(
          i * MIN, user, "e" + i % 90, i * MIN, i * MIN, (byte) 0, "i" + i, null, null, 0.0,
          user.getBytes(), null, 0, (long) i, null);
      expected.put(List.of(user), Clicks.ofKind(UserHistory.LIVE, rows).get(0));
      if (i % 10 == 0) running.harness.advance((i - 5) * MIN);
    }
    restoring.harness.states.putAll(running.harness.states);
    restoring.harness.timers.putAll(running.harness.timers);
    var shown = restoring.harness.advance(Long.MAX_VALUE);
    assertEquals(expected.size(), shown.size());
    assertEquals(Set.copyOf(texts(expected.values())), Set.copyOf(texts(shown)));
  }

  private static List<String> texts(Collection<Row> rows) {
    return rows.stream().map(row -> HexFormat.of().formatHex(row.getFieldAs(1)) + row.getField(2)
        + HexFormat.of().formatHex(row.getFieldAs(3))).toList();
  }

  @Test
  void anEventUnderAnEmittedSpanJoinsTheOpenOneAlone() throws Exception {
    var clicks = new Clicks(Map.of());
    var rows = new ArrayList<Row>();
    double[] minutes = {0, 5, 10, 41, 51, 12, 4, 95};
    for (double minute : minutes) rows.addAll(clicks.view("e" + minute, minute, "i" + minute));
    assertEquals(List.of("0 10 3", "4 51 4"), spans(rows));
  }

  @Test
  void anItemOfAnEmittedSpanIsStillTheLiveSessions() throws Exception {
    var clicks = new Clicks(Map.of());
    clicks.view("a", 0, "lamp");
    assertEquals(List.of("0 0 1"), spans(clicks.harness.advance(40 * MIN + 1)));
    clicks.view("b", 30, "lamp");
    var user = (UserHistory.User) clicks.harness.state("u").get(0);
    assertEquals(List.of(2L, 1L), List.of(user.events, user.items));
  }

  @Test
  void aSessionListsAThousandItemsCountsAllAndFitsIntoItsTopic() throws Exception {
    for (int items : new int[] {ClosedSpan.MAX_ITEMS, ClosedSpan.MAX_ITEMS + 1, 2_000}) {
      var clicks = new Clicks(Map.of());
      var random = new Random(items);
      for (int i = 0; i < items; i++) clicks.view("e" + i, i / 100.0, id(random, 0x4e00, 0x9fff));
      var closed = clicks.harness.advance(1440 * MIN).get(0);
      assertEquals((long) items, closed.getField(9));
      assertEquals(items > ClosedSpan.MAX_ITEMS, closed.getField(10));
      assertEquals(Math.min(items, ClosedSpan.MAX_ITEMS), closed.<String[]>getFieldAs(8).length);
      assertEquals((long) items, closed.getField(6));
    }
  }

  /** The widest characters there are, and those that JSON writes in six bytes: as sent, packed at level 1. */
  /** Raw, since nothing may be compressible; as Flink writes JSON; with the user's id as key and in the value. */
  @Test
  void theLargestIdsFitIntoARecord() throws Exception {
    int[][] ranges = {{0x4e00, 0x9fff}, {0x10000, 0x10ffff}, {1, 0x1f}, {'"', '"'}, {'a', 'z'}};
    int[] listed = {1_000, 292, 584, 1_000, 1_000};
    for (int range = 0; range < ranges.length; range++) {
      var random = new Random(1);
      var span = new ClosedSpan(0, 0, 1);
      for (int i = 0; i < 1_500; i++) span.add(event(i + id(random, ranges[range][0], ranges[range][1]).substring(4), i));
      var items = (String[]) span.columns(new String[] {"view"})[4];
      assertEquals(listed[range], items.length, 10, "range " + range);
      var json = new ObjectMapper().writeValueAsBytes(items);
      assertTrue(json.length <= ClosedSpan.MAX_BYTES, range + ": " + json.length);
    }
    assertTrue(ClosedSpan.MAX_BYTES + 2 * ClosedSpan.jsonBytes("\ud83d\ude00".repeat(256)) + 2_000 < 1_048_588);
  }

  private static Event event(String item, long t) {
    var event = new Event();
    event.item = item.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    event.t = t;
    return event;
  }

  @Test
  void aSlowDeviceKeepsAllOfItsVisits() throws Exception {
    var clicks = new Clicks(Map.of());
    clicks.harness.advance(1440 * MIN); // the others' clocks; this one is a day behind
    for (int visit = 0; visit < 4; visit++) {
      assertEquals(1, Clicks.ofKind(UserHistory.LIVE, clicks.view("v" + visit, 35 * visit, "lamp")).size());
      var closed = Clicks.ofKind(UserHistory.CLOSED, clicks.harness.advance((1440 + 11 * (visit + 1)) * MIN));
      assertEquals(1, closed.size(), "visit " + visit);
    }
  }

  @Test
  void aStateThatKnowsFewerActionsIsShownWithAll() throws Exception {
    var user = new UserHistory.User();
    user.counts = new long[] {3};
    var counters = (byte[]) HistoryRow.live(user, 10, 13).getField(1);
    assertEquals(8 * (10 + 13), counters.length);
    assertEquals(3, java.nio.ByteBuffer.wrap(counters).order(java.nio.ByteOrder.LITTLE_ENDIAN).getLong(80));
  }

  @Test
  void aUserHasOneTimer() throws Exception {
    var clicks = new Clicks(Map.of());
    for (int visit = 0; visit < 5; visit++) {
      clicks.view("v" + visit, 100 * visit, "lamp");
      clicks.harness.advance((100L * visit + 50) * MIN);
    }
    assertEquals(1, clicks.harness.timers.values().stream().mapToInt(
        names -> names.values().stream().mapToInt(List::size).sum()).sum());
  }

  private static String id(Random random, int first, int last) {
    var id = new StringBuilder();
    for (int i = 0; i < 256; i++) id.appendCodePoint(random.nextInt(first, last + 1));
    return id.toString();
  }

  @Test
  void aRowThatFailsIsALetterAndLeavesNoTrace() throws Exception {
    var clicks = new Clicks(Map.of("history", 3));
    for (int i = 0; i < 5; i++) clicks.view("e" + i, i, "i" + i);
    var before = state(clicks);
    var rows = clicks.harness.insert(0, "u", "bad", 90 * MIN, 90 * MIN, (byte) 99, "x", null, null, 0.0,
        "u".getBytes(), new byte[] {7}, 2, 33L, null);
    assertEquals(1, rows.size());
    var row = rows.get(0);
    assertEquals(List.of(UserHistory.INTERNAL, 2, 33L), List.of(row.getField(0), row.getField(13), row.getField(14)));
    assertArrayEquals(new byte[] {7}, row.getFieldAs(12));
    assertTrue(row.<String>getFieldAs(15).startsWith("ArrayIndexOutOfBoundsException"));
    assertEquals(before, state(clicks));
    assertEquals(1, clicks.harness.counter("internal"));
    assertEquals(6, clicks.view("after", 5, "lamp").get(0).<byte[]>getFieldAs(1)[24]); // events of the live session
  }

  @Test
  void aTimerThatFailsChangesNothing() throws Exception {
    var clicks = new Clicks(Map.of());
    clicks.view("a", 0, "lamp");
    ((UserHistory.User) clicks.harness.state("u").get(0)).recent = new byte[] {9, 0, 1};
    assertEquals(List.of(), clicks.harness.advance(1440 * MIN));
    assertEquals(1, clicks.harness.counter("internal"));
    assertArrayEquals(new long[2], ((UserHistory.User) clicks.harness.state("u").get(0)).spans);
  }

  private static List<Object> state(Clicks clicks) throws Exception {
    var fields = new ArrayList<Object>();
    var state = clicks.harness.state("u");
    for (var field : UserHistory.User.class.getFields()) {
      var value = field.get(state.get(0));
      fields.add(value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes)
          : value instanceof long[] numbers ? Arrays.toString(numbers) : value);
    }
    fields.add(Map.copyOf(((MapView<?, ?>) state.get(1)).getMap()));
    for (var bytes : ((ListView<?>) state.get(2)).getList()) fields.add(HexFormat.of().formatHex((byte[]) bytes));
    return fields;
  }

  @Test
  void recordsOfAnotherKeyOrPartitionAreCounted() throws Exception {
    var harness = new Clicks(Map.of()).harness;
    Object[] click = {"é", "a", 0L, 0L, (byte) 0, "i", null, null, 0.0, "é".getBytes("UTF-8"), null, 3, 0L, null};
    harness.insert(0, click);
    harness.insert(0, click);
    assertEquals(List.of(0L, 0L), List.of(harness.counter("other_key"), harness.counter("other_partition")));
    click[9] = null;
    harness.insert(0, click);
    click[9] = "e".getBytes();
    click[11] = 2;
    harness.insert(0, click);
    harness.insert(0, click);
    assertEquals(List.of(3L, 1L), List.of(harness.counter("other_key"), harness.counter("other_partition")));
  }

  /** Start, end and number of events of each closed span. */
  static List<String> spans(List<Row> rows) {
    var found = new ArrayList<String>();
    for (var row : Clicks.ofKind(UserHistory.CLOSED, rows)) {
      found.add((long) row.getField(4) / MIN + " " + (long) row.getField(5) / MIN + " " + row.getField(6));
    }
    return found;
  }
}
