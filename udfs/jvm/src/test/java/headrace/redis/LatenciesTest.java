package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Quantiles against a sorted list, and what is forgotten. */
class LatenciesTest {
  private long nowMs = 1_000;
  private final Latencies latencies = new Latencies(() -> nowMs);

  @Test
  void quantilesAreThoseOfASortedListToOnePartInSixteen() {
    var random = new Random(1);
    var all = random.doubles(10_000, 0, 12).mapToLong(power -> (long) Math.exp(power)).toArray();
    for (long ms : all) latencies.update(ms);
    Arrays.sort(all);
    var statistics = latencies.getStatistics();
    for (double quantile : new double[] {.001, .5, .9, .99, .999, 1}) {
      long exact = all[(int) Math.ceil(quantile * all.length) - 1];
      double shown = statistics.getQuantile(quantile);
      assertTrue(shown >= exact && shown <= exact * (1 + 1 / 16.) + 1, quantile + ": " + shown + " for " + exact);
    }
    assertEquals(10_000, latencies.getCount());
    assertEquals(Arrays.stream(all).average().orElseThrow(), statistics.getMean(), .06 * statistics.getMean());
  }

  @Test
  void smallTimesAreExactAndNegativeOnesNothing() {
    for (long ms : new long[] {-5, 0, 1, 15, 16, 31, 32}) latencies.update(ms);
    assertEquals("[0, 1, 15, 16, 31, 33]", Arrays.toString(latencies.getStatistics().getValues()));
    latencies.update(Long.MAX_VALUE);
    assertEquals(Long.MAX_VALUE, latencies.getStatistics().getMax());
  }

  @Test
  void whatIsOlderThanTwoMinutesIsForgotten() {
    latencies.update(7);
    nowMs += 59_999;
    latencies.update(8);
    assertEquals(2, latencies.getStatistics().size());
    nowMs += 1;
    latencies.update(9);
    assertEquals(3, latencies.getStatistics().size());
    nowMs += 60_000;
    assertEquals(1, latencies.getStatistics().size());
    latencies.update(10);
    assertEquals(2, latencies.getStatistics().size());
    nowMs += 120_000;
    assertEquals(0, latencies.getStatistics().size());
    assertEquals(0, latencies.getStatistics().getQuantile(.99));
    assertEquals(4, latencies.getCount());
  }
}
