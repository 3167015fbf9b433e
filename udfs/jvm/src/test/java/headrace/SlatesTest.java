package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SlatesTest {
  private static final String COLUMNS =
      "user_id impression_id item_id topic partition offset t append_ms surface position policy model_version context"
          + " propensity encoder_version action first";
  private static final List<String> ACTIONS = List.of("click", "cart", "purchase", "uncart", "refund", "block", "view");
  private static final double[] VALUES = {1, 5, 10, 0, 0, -5, .5}; // a fast one is worth 1/8 more, a first one twice
  private static final long SHOWN = 1_000_000, FAST = 10_000, DELAY = 300_000;
  private static final byte[] CONTEXT = Sums.packed(new double[] {1, .5});
  private Harness harness;

  @BeforeEach
  void open() throws Exception {
    var rewards = new StringBuilder();
    for (var value : VALUES) {
      for (double factor : new double[] {1, 2, 1.125, 2.25})
        rewards.append(value > 0 ? value * factor : value).append(" ");
    }
    var parameters = Map.of("actions", String.join(" ", ACTIONS), "reward_table", rewards.toString().trim(),
        "fast_ms", FAST, "reward_delay_ms", DELAY);
    harness = new Harness(new Slates(), parameters, COLUMNS, "user_id impression_id");
  }

  private List<Row> show(String item, long t, long appendMs) throws Exception {
    return harness.insert(0, "u", "s", item, "impressions", 0, 7L, t, appendMs, "home", 3L, "linucb", "v", CONTEXT, .25,
        null, null, null);
  }

  private List<Row> act(String item, String action, long t, long appendMs) throws Exception {
    return act(item, action, false, t, appendMs);
  }

  private List<Row> act(String item, String action, boolean first, long t, long appendMs) throws Exception {
    return harness.insert(0, "u", "s", item, "clicks", 1, 8L, t, appendMs, null, null, null, null, null, null, null,
        (byte) ACTIONS.indexOf(action), first);
  }

  private static double reward(List<Row> rows) {
    assertEquals(1, rows.size());
    return (Double) rows.get(0).getField(11);
  }

  @Test
  void anImpressionEntersWithRewardZero() throws Exception {
    var row = show("lamp", SHOWN, SHOWN + 9).get(0);
    assertEquals("lamp home 3 linucb v", row.getField(0) + " " + row.getField(1) + " " + row.getField(2) + " "
        + row.getField(3) + " " + row.getField(4));
    assertArrayEquals(CONTEXT, (byte[]) row.getField(5));
    assertEquals(List.of(.25, SHOWN), List.of(row.getField(6), row.getField(7)));
    assertEquals(null, row.getField(8));
    assertEquals(List.of(true, 0.0, 0.0, SHOWN + 9),
        List.of(row.getField(9), row.getField(10), row.getField(11), row.getField(12)));
  }

  @Test
  void theFirstRecordOfAnImpressionCounts() throws Exception {
    show("lamp", SHOWN, SHOWN);
    assertEquals(List.of(), show("lamp", SHOWN + 1, SHOWN + 1));
    assertEquals(1, harness.counter("duplicates"));
    assertEquals(1, harness.counter("entered"));
    assertEquals(1, show("rug", SHOWN, SHOWN).size());
  }

  @Test
  void feedbackCountsFromTheImpressionUntilTheDelay() throws Exception {
    show("lamp", SHOWN, SHOWN);
    assertEquals(List.of(), act("lamp", "click", SHOWN + DELAY + 1, SHOWN + DELAY + 1));
    assertEquals(1, reward(act("lamp", "click", SHOWN + DELAY, SHOWN + DELAY)));
    assertEquals(1, reward(act("lamp", "click", SHOWN + FAST + 1, SHOWN + DELAY + 9)));
    assertEquals(1.125, reward(act("lamp", "click", SHOWN + FAST, SHOWN + DELAY + 10)));
    assertEquals(2.25, reward(act("lamp", "click", true, SHOWN, SHOWN + DELAY + 11)));
    assertEquals(1, harness.counter("feedback_out_of_time"));
    assertEquals(4, harness.counter("corrected"));
  }

  /** A phone that is 5 s slow: its purchase seems to come before the impression. Then the broker's clock counts. */
  @Test
  void aSlowClockCostsNoReward() throws Exception {
    show("lamp", SHOWN, SHOWN + 100);
    assertEquals(11.25, reward(act("lamp", "purchase", SHOWN - 1_000, SHOWN + 4_100)));
    show("rug", SHOWN, SHOWN + 100);
    assertEquals(List.of(), act("rug", "purchase", SHOWN - 1, SHOWN + 99)); // before it by both clocks
    assertEquals(List.of(), act("rug", "purchase", SHOWN - 1, SHOWN + 101 + DELAY));
    assertEquals(10, reward(act("rug", "purchase", SHOWN - 1, SHOWN + 100 + DELAY)));
    assertEquals(11.25, reward(act("rug", "purchase", SHOWN - 1, SHOWN + 100)));
    assertEquals(2, harness.counter("feedback_out_of_time"));
  }

  @Test
  void feedbackMayComeBeforeItsImpression() throws Exception {
    assertEquals(List.of(), act("lamp", "click", SHOWN + 1, SHOWN + 1));
    assertEquals(List.of(), act("lamp", "view", SHOWN + DELAY + 1, SHOWN + 2));
    assertEquals(2, harness.counter("feedback_unmatched"));
    var row = show("lamp", SHOWN, SHOWN).get(0);
    assertEquals(List.of(true, 0.0, 1.125, SHOWN + 1),
        List.of(row.getField(9), row.getField(10), row.getField(11), row.getField(12)));
    assertEquals(2, harness.counter("feedback_early"));
    assertEquals(1, harness.counter("feedback_out_of_time"));
  }

  @Test
  void whatWaitsForAnImpressionIsBounded() throws Exception {
    for (int n = 0; n < SlateItem.MOST_WAITING; n++) act("lamp", "view", SHOWN, SHOWN);
    act("lamp", "purchase", SHOWN, SHOWN);
    assertEquals(.5625, reward(show("lamp", SHOWN, SHOWN)));
  }

  @Test
  void aRowThatFailsIsSetAside() throws Exception {
    var row = harness.insert(0, "u", "s", "lamp", "clicks", 1, 8L, null, 5L, null, null, null, null, null, null, null,
        (byte) 0, false).get(0);
    assertEquals(List.of("lamp", "clicks", 1, 8L, 5L),
        List.of(row.getField(0), row.getField(13), row.getField(14), row.getField(15), row.getField(16)));
    assertEquals("NullPointerException", row.getField(17).toString().split(":")[0]);
    assertEquals(1, harness.counter("internal"));
    assertEquals(1, show("lamp", SHOWN, SHOWN).size());
  }

  /** The rewards of random feedback in random order, against the words of docs/bandit.md. */
  @Test
  void theRewardIsAFunctionOfTheSet() throws Exception {
    var random = new Random(1);
    for (int round = 0; round < 20_000; round++) {
      harness.reset();
      var acted = new ArrayList<String>();
      for (int n = random.nextInt(5); n >= 0; n--) acted.add(ACTIONS.get(random.nextInt(ACTIONS.size())));
      var order = new ArrayList<String>(acted);
      order.add("shown");
      Collections.shuffle(order, random);
      double sum = 0;
      int entered = 0;
      for (var each : order) {
        for (var row : each.equals("shown") ? show("lamp", SHOWN, SHOWN) : act("lamp", each, SHOWN + 60_000, SHOWN)) {
          sum += (Double) row.getField(11) - (Double) row.getField(10);
          if ((Boolean) row.getField(9)) entered++;
        }
      }
      assertEquals(1, entered);
      assertEquals(expected(acted), sum, acted.toString());
    }
  }

  private static double expected(List<String> acted) {
    var left = new ArrayList<String>(acted);
    if (acted.contains("refund")) left.removeAll(List.of("purchase", "cart"));
    if (acted.contains("uncart") && !acted.contains("purchase")) left.removeAll(List.of("cart"));
    double lowest = 0, highest = 0;
    for (var each : left) {
      lowest = Math.min(lowest, VALUES[ACTIONS.indexOf(each)]);
      highest = Math.max(highest, VALUES[ACTIONS.indexOf(each)]);
    }
    return lowest < 0 ? lowest : highest;
  }

  /** The bytes of savepoints. A new layout has another first byte, and these are still read. */
  @Test
  void theLayoutStays() throws Exception {
    act("lamp", "purchase", true, SHOWN, SHOWN + 1);
    assertEquals("00020140420f000000000041420f0000000000", state("lamp"));
    show("lamp", SHOWN, SHOWN);
    assertEquals("0140420f000000000040420f000000000041420f0000000000000000000000000000000000000000000000000000803640"
        + "000300000000000000000000000000d03f0400686f6d6506006c696e756362010076ffff000000000000f03f000000000000e03f",
        state("lamp"));
    assertEquals(null, SlateItem.read(HexFormat.of().parseHex(state("lamp"))).encoderVersion);
  }

  @SuppressWarnings("unchecked")
  private String state(String item) throws Exception {
    return HexFormat.of().formatHex(((MapView<String, byte[]>) harness.state("u", "s").get(0)).get(item));
  }
}
