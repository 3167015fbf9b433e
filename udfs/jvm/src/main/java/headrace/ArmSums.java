package headrace;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The sums of an arm, kept in the JVM: A = sum x x', b = sum r x, n over its impressions. Each period has its own sums,
 * and an older period has half the weight of the one after it.
 *
 * <p>It adds partial sums, and knows no impression and no reward. Every term is dyadic (docs/bandit.md), so sums are
 * exact and do not depend on the order in which they are added. An arm without state begins with what the topic
 * `statistics` has of it; for an arm with the state of a savepoint that record is old. Each row in gives one row out,
 * in the layout of udfs/bandit/arms.py (pack).
 */
@DataTypeHint("ROW<n BIGINT, sums BYTES, as_of_ms BIGINT, `period` BIGINT>")
public class ArmSums extends ProcessTableFunction<Row> {
  private static final Logger LOG = LoggerFactory.getLogger(ArmSums.class);
  private static final String VERSION = "version", BOOTED = "booted", EARLIER = "earlier";

  /** The savepoint's schema (see UserHistory.User). */
  public static class Arm {
    public byte[] sums = {}; // of the newest period: A's upper triangle row by row, b, n; little-endian float64
    public long period; // the newest one
    public long asOf; // highest as_of_ms that entered
  }

  private transient Counter inexact;
  private transient Faults faults;
  private transient long periods;
  private transient int d;
  private transient byte[] version;

  /** The job parameters `periods`, `version` and `d` say how many periods count, and of what the sums are. */
  @Override
  public void open(FunctionContext context) {
    periods = UserHistory.setting(context, "periods");
    d = (int) UserHistory.setting(context, "d");
    version = context.getJobParameter("headrace.version", "").getBytes(StandardCharsets.UTF_8);
    var metrics = context.getMetricGroup().addGroup("headrace");
    faults = new Faults(ArmSums.class, metrics);
    inexact = metrics.counter("inexact_sums");
  }

  /**
   * @param older sums of the periods before the newest
   * @param origin of the sums. VERSION: of encoder, rule and half-life, UTF-8. EARLIER: they are of a release that kept
   *     no version; they have seen more than `statistics`. BOOTED: what was taken from there, period i64
   *     little-endian, sums
   * @param input policy, item_id, period, as_of_ms; sums to add, or packed: base64 of all that `statistics` has
   */
  public void eval(
      @StateHint(ttl = UserHistory.NO_TTL) Arm arm,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, byte[]> older,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, byte[]> origin,
      @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    try {
      var kept = origin.get(VERSION);
      if (!Arrays.equals(kept, version)) begin(arm, older, origin, kept == null && arm.sums.length > 0);
      long period = (Long) input.getField("period");
      if (input.getField("packed") == null) add(arm, older, period, (byte[]) input.getField("sums"), 1);
      else if (!origin.contains(EARLIER)) boot(arm, older, origin, period, (String) input.getField("packed"));
      arm.asOf = Math.max(arm.asOf, (Long) input.getField("as_of_ms"));
      collect(row(arm, older, input));
    } catch (RuntimeException fault) {
      faults.of(fault, input.getField("policy") + " " + input.getField("item_id"));
    }
  }

  /** Begins the sums of this version. Those of another one never meet them; those of an earlier release are of it. */
  private void begin(Arm arm, MapView<Long, byte[]> older, MapView<String, byte[]> origin, boolean earlier)
      throws Exception {
    if (earlier) origin.put(EARLIER, new byte[0]);
    else forget(arm, older, origin);
    origin.put(VERSION, version);
  }

  private static void forget(Arm arm, MapView<Long, byte[]> older, MapView<String, byte[]> origin) {
    older.clear();
    origin.clear();
    arm.sums = new byte[0];
    arm.period = arm.asOf = 0;
  }

  /** Adds what `statistics` has of the arm, in the place of what an earlier record of it said. */
  private void boot(Arm arm, MapView<Long, byte[]> older, MapView<String, byte[]> origin, long period, String packed)
      throws Exception {
    var sums = Base64.getDecoder().decode(packed);
    if (sums.length != 8 * Sums.length(d))
      throw new IllegalArgumentException("sums must be of contexts of " + d + " values, got " + sums.length + " bytes");
    var before = origin.get(BOOTED);
    if (before != null) add(arm, older, Sums.period(before), Arrays.copyOfRange(before, 8, before.length), -1);
    origin.put(BOOTED, Sums.ofPeriod(period, sums));
    add(arm, older, period, sums, 1);
  }

  private void add(Arm arm, MapView<Long, byte[]> older, long period, byte[] sums, double weight) throws Exception {
    if (period > arm.period) age(arm, older, period);
    if (period == arm.period) arm.sums = Sums.plus(arm.sums, sums, weight);
    else if (period > arm.period - periods) older.put(period, Sums.plus(older.get(period), sums, weight));
    if (arm.sums.length == 0) arm.sums = new byte[sums.length];
  }

  private void age(Arm arm, MapView<Long, byte[]> older, long period) throws Exception {
    if (arm.sums.length > 0) older.put(arm.period, arm.sums);
    long last = Math.min(arm.period, period - periods); // the last period that no longer counts
    for (long expired = arm.period - periods + 1; expired <= last; expired++) older.remove(expired);
    arm.sums = new byte[0];
    arm.period = period;
  }

  private Row row(Arm arm, MapView<Long, byte[]> older, Row input) throws Exception {
    var sums = arm.sums;
    for (int age = 1; age < periods; age++) {
      var faded = older.get(arm.period - age);
      if (faded != null) sums = Sums.plus(sums, faded, Math.scalb(1.0, -age));
    }
    if (!Sums.exact(sums, periods)) {
      if (inexact.getCount() == 0)
        LOG.warn("The sums of the arm {} of {} are too large to be exact", input.getField("item_id"),
            input.getField("policy"));
      inexact.inc();
    }
    return Row.of((long) Sums.n(sums), sums, arm.asOf, arm.period);
  }
}
