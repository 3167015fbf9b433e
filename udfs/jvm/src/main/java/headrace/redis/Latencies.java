package headrace.redis;

import java.util.Arrays;
import java.util.function.LongSupplier;
import org.apache.flink.metrics.Histogram;
import org.apache.flink.metrics.HistogramStatistics;

/**
 * Times in ms, of the last one to two minutes. A time is known to one part in sixteen.
 *
 * <p>One thread updates; another may read at the same time, and may then miss the newest.
 */
final class Latencies implements Histogram {
  private static final int STEPS = 16, STEP_BITS = 4; // of each doubling
  private static final int BUCKETS = STEPS * (64 - STEP_BITS);
  private static final long PERIOD_MS = 60_000;
  private final LongSupplier clock;
  private volatile long[] before = new long[BUCKETS], now = new long[BUCKETS];
  private volatile long sinceMs, count;

  Latencies(LongSupplier clock) {
    this.clock = clock;
    sinceMs = clock.getAsLong();
  }

  /** @param ms less than 0 counts as 0: two clocks differ */
  @Override
  public void update(long ms) {
    turn();
    now[bucket(Math.max(0, ms))]++;
    count++;
  }

  private void turn() {
    long passed = clock.getAsLong() - sinceMs;
    if (passed < PERIOD_MS) return;
    before = passed < 2 * PERIOD_MS ? now : new long[BUCKETS];
    now = new long[BUCKETS];
    sinceMs += passed;
  }

  @Override
  public long getCount() {
    return count;
  }

  @Override
  public HistogramStatistics getStatistics() {
    long old = clock.getAsLong() - sinceMs;
    var sum = old < 2 * PERIOD_MS ? now.clone() : new long[BUCKETS];
    var earlier = before;
    if (old < PERIOD_MS) for (int i = 0; i < BUCKETS; i++) sum[i] += earlier[i];
    return new Statistics(sum);
  }

  private static int bucket(long ms) {
    if (ms < STEPS) return (int) ms;
    int shift = 63 - STEP_BITS - Long.numberOfLeadingZeros(ms);
    return STEPS * (shift + 1) + (int) (ms >> shift) - STEPS;
  }

  /** The greatest time of a bucket. */
  private static long most(int bucket) {
    if (bucket < 2 * STEPS) return bucket;
    int shift = bucket / STEPS - 1;
    return ((long) (bucket % STEPS + STEPS + 1) << shift) - 1;
  }

  private static final class Statistics extends HistogramStatistics {
    private final long[] counts;
    private final long size;

    Statistics(long[] counts) {
      this.counts = counts;
      size = Arrays.stream(counts).sum();
    }

    @Override
    public double getQuantile(double quantile) {
      if (size == 0) return 0;
      long rank = Math.max(1, (long) Math.ceil(quantile * size)), seen = 0;
      for (int i = 0; i < counts.length; i++) if ((seen += counts[i]) >= rank) return most(i);
      return getMax();
    }

    /** The greatest time of each bucket that holds any. */
    @Override
    public long[] getValues() {
      var values = new long[counts.length];
      int used = 0;
      for (int i = 0; i < counts.length; i++) if (counts[i] > 0) values[used++] = most(i);
      return Arrays.copyOf(values, used);
    }

    @Override
    public int size() {
      return (int) Math.min(Integer.MAX_VALUE, size);
    }

    @Override
    public double getMean() {
      double sum = 0;
      for (int i = 0; i < counts.length; i++) sum += (double) counts[i] * most(i);
      return size == 0 ? 0 : sum / size;
    }

    @Override
    public double getStdDev() {
      double mean = getMean(), sum = 0;
      for (int i = 0; i < counts.length; i++) sum += counts[i] * (most(i) - mean) * (most(i) - mean);
      return size == 0 ? 0 : Math.sqrt(sum / size);
    }

    @Override
    public long getMax() {
      for (int i = counts.length - 1; i >= 0; i--) if (counts[i] > 0) return most(i);
      return 0;
    }

    @Override
    public long getMin() {
      for (int i = 0; i < counts.length; i++) if (counts[i] > 0) return most(i);
      return 0;
    }
  }
}
