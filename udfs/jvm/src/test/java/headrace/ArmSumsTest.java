package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ArmSumsTest {
  private Harness harness;

  @BeforeEach
  void open() throws Exception {
    harness = harness("now", 1);
  }

  private static Harness harness(String version, int periods) throws Exception {
    return new Harness(new ArmSums(), Map.of("periods", periods, "version", version, "d", 1),
        "policy item_id period as_of_ms sums packed", "policy item_id");
  }

  private List<Row> add(long period, long asOf, double... sums) throws Exception {
    return harness.insert(0, "linucb", "lamp", period, asOf, Sums.packed(sums), null);
  }

  private List<Row> boot(long period, long asOf, double... sums) throws Exception {
    return boot(period, asOf, Base64.getEncoder().encodeToString(Sums.packed(sums)));
  }

  private List<Row> boot(long period, long asOf, String packed) throws Exception {
    return harness.insert(0, "linucb", "lamp", period, asOf, null, packed);
  }

  private static void assertRow(List<Row> rows, long n, long asOf, long period, double... sums) {
    assertEquals(1, rows.size());
    assertEquals(Row.of(n, asOf, period), Row.project(rows.get(0), new int[] {0, 2, 3}));
    assertArrayEquals(Sums.packed(sums), (byte[]) rows.get(0).getField(1));
  }

  @Test
  void partialSumsAddUp() throws Exception {
    assertRow(add(0, 5, 2, 1, 2), 2, 5, 0, 2, 1, 2);
    assertRow(add(0, 3, .5, -3, 1), 3, 5, 0, 2.5, -2, 3);
  }

  @Test
  void anOlderPeriodHasHalfTheWeight() throws Exception {
    harness = harness("now", 3);
    add(10, 1, 4, 4, 4);
    assertRow(add(11, 2, 1, 1, 1), 3, 2, 11, 3, 3, 3);
    assertRow(add(10, 3, 2, 0, 0), 3, 3, 11, 4, 3, 3); // a correction goes to its own period
    assertRow(add(12, 4, 0, 0, 0), 1, 4, 12, 2, 1.5, 1.5);
    assertRow(add(13, 4, 0, 0, 0), 0, 4, 13, .25, .25, .25); // period 10 is forgotten
    assertRow(add(9, 5, 8, 8, 8), 0, 5, 13, .25, .25, .25);
  }

  @Test
  void anArmBeginsWithWhatTheTopicHasOfIt() throws Exception {
    assertRow(boot(0, 7, 2, 1, 2), 2, 7, 0, 2, 1, 2);
    assertRow(add(0, 8, 1, 1, 1), 3, 8, 0, 3, 2, 3);
  }

  @Test
  void theTopicMayComeAfterTheFirstImpressionsAndItsLastRecordCounts() throws Exception {
    add(0, 8, 1, 1, 1);
    assertRow(boot(0, 6, 1, 0, 1), 2, 8, 0, 2, 1, 2);
    assertRow(boot(0, 7, 2, 1, 2), 3, 8, 0, 3, 2, 3);
  }

  @Test
  void whatTheTopicHasFadesLikeThePeriodOfItsRecord() throws Exception {
    harness = harness("now", 2);
    boot(4, 7, 2, 2, 2);
    assertRow(add(5, 8, 1, 1, 1), 2, 8, 5, 2, 2, 2);
    assertRow(add(6, 9, 0, 0, 0), 0, 9, 6, .5, .5, .5);
  }

  @Test
  void theStateOfAnEarlierReleaseKnowsMoreThanTheTopic() throws Exception {
    earlier();
    assertRow(boot(0, 7, 1, 1, 1), 2, 9, 0, 2, 1, 2);
    assertRow(add(0, 10, 1, 1, 1), 3, 10, 0, 3, 2, 3);
    assertRow(boot(0, 7, 1, 1, 1), 3, 10, 0, 3, 2, 3);
    next("another");
    assertRow(add(0, 11, 1, 1, 1), 1, 11, 0, 1, 1, 1);
  }

  /** The job goes on from its state, with other settings. */
  private void next(String version) throws Exception {
    var states = harness.states;
    harness = harness(version, 1);
    harness.states.putAll(states);
  }

  /** The state of arm lamp as 0.1.0 left it. */
  private void earlier() throws Exception {
    add(0, 1, 0, 0, 0);
    var arm = (ArmSums.Arm) harness.state("linucb", "lamp").get(0);
    arm.sums = Sums.packed(new double[] {2, 1, 2});
    arm.asOf = 9;
    ((MapView<?, ?>) harness.state("linucb", "lamp").get(2)).clear();
  }

  @Test
  void sumsOfAnotherVersionNeverMeetThese() throws Exception {
    boot(0, 7, 2, 1, 2);
    next("another");
    assertRow(add(0, 8, 1, 1, 1), 1, 8, 0, 1, 1, 1);
    assertRow(boot(0, 7, 5, 5, 5), 6, 8, 0, 6, 6, 6);
  }

  @Test
  void aRecordThatIsNoneIsSetAside() throws Exception {
    add(0, 8, 1, 1, 1);
    assertEquals(List.of(), boot(0, 9, "?"));
    assertEquals(List.of(), boot(0, 9, 1, 1));
    assertEquals(2, harness.counter("internal"));
    assertRow(add(0, 8, 1, 1, 1), 2, 8, 0, 2, 2, 2);
  }

  @Test
  void sumsThatAreNoLongerExactAreCounted() throws Exception {
    add(0, 1, Math.scalb(1, 29), 0, 1);
    assertEquals(0, harness.counter("inexact_sums"));
    add(0, 1, 1, 0, 1);
    assertEquals(1, harness.counter("inexact_sums"));
  }
}
