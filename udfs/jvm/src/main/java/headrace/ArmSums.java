package headrace;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;

/**
 * The sums of an arm, kept in the JVM: A = sum w x x', b = sum w r x, n = sum w over the changes of its impressions.
 * The weight w is 1 for an impression that enters and -1 for one that is withdrawn. Each period has its own sums, and
 * an older period has half the weight of the one after it.
 *
 * <p>It knows vectors, weights and periods, and no reward. Every term is dyadic (docs/bandit.md), so sums are exact and
 * do not depend on the order of changes. Each change that is not the first half of an update gives one row out, in the
 * layout of udfs/bandit/arms.py (pack).
 */
@DataTypeHint("ROW<n BIGINT, sums BYTES, as_of_ms BIGINT>")
public class ArmSums extends ProcessTableFunction<Row> {
  private static final VarHandle DOUBLE = MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);

  /** The savepoint's schema (Flink's POJO rules, see UserHistory.User). */
  public static class Arm {
    public byte[] sums = {}; // of the newest period: A's upper triangle row by row, b, n; little-endian float64
    public long period; // the newest one
    public long asOf; // highest as_of_ms that entered
  }

  private transient Counter entered, corrected;
  private transient long periods;

  /** The job parameter `periods` says how many periods count. */
  @Override
  public void open(FunctionContext context) {
    periods = UserHistory.setting(context, "periods");
    var metrics = context.getMetricGroup().addGroup("headrace");
    entered = metrics.counter("entered");
    corrected = metrics.counter("corrected");
  }

  /**
   * @param older sums of the periods before the newest
   * @param input x (d float64, little-endian), reward, period, as_of_ms
   */
  public void eval(
      @StateHint(ttl = UserHistory.NO_TTL) Arm arm,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, byte[]> older,
      @ArgumentHint({
            ArgumentTrait.SET_SEMANTIC_TABLE,
            ArgumentTrait.SUPPORT_UPDATES,
            ArgumentTrait.REQUIRE_UPDATE_BEFORE
          })
          Row input)
      throws Exception {
    var kind = input.getKind();
    boolean enters = kind == RowKind.INSERT || kind == RowKind.UPDATE_AFTER;
    long period = (Long) input.getField("period");
    var x = vector((byte[]) input.getField("x"));
    double reward = (Double) input.getField("reward"), weight = enters ? 1 : -1;
    if (period > arm.period) begin(arm, older, period);
    if (period == arm.period) arm.sums = add(arm.sums, x, reward, weight);
    else if (period > arm.period - periods) older.put(period, add(older.get(period), x, reward, weight));
    if (enters) arm.asOf = Math.max(arm.asOf, (Long) input.getField("as_of_ms"));
    if (kind == RowKind.INSERT) entered.inc();
    if (kind == RowKind.UPDATE_BEFORE) corrected.inc();
    else collect(row(arm, older));
  }

  private void begin(Arm arm, MapView<Long, byte[]> older, long period) throws Exception {
    if (arm.sums.length > 0) older.put(arm.period, arm.sums);
    long last = Math.min(arm.period, period - periods); // the last period that no longer counts
    for (long expired = arm.period - periods + 1; expired <= last; expired++) older.remove(expired);
    arm.sums = new byte[0];
    arm.period = period;
  }

  private Row row(Arm arm, MapView<Long, byte[]> older) throws Exception {
    var sums = arm.sums;
    for (int age = 1; age < periods; age++) {
      var faded = older.get(arm.period - age);
      if (faded != null) sums = add(sums, faded, Math.scalb(1.0, -age));
    }
    return Row.of((long) (double) DOUBLE.get(sums, sums.length - 8), sums, arm.asOf);
  }

  private static double[] vector(byte[] packed) {
    var x = new double[packed.length / 8];
    for (int i = 0; i < x.length; i++) x[i] = (double) DOUBLE.get(packed, 8 * i);
    return x;
  }

  /** Adds into new bytes: a row that was collected must not change. */
  private static byte[] add(byte[] sums, double[] x, double reward, double weight) {
    int size = 4 * (x.length + 1) * (x.length + 2), had = sums == null ? 0 : sums.length;
    if (had != 0 && had != size)
      throw new IllegalStateException(
          "x must be as long as those in the sums of " + had + " bytes, got " + x.length + " values");
    var next = had == 0 ? new byte[size] : sums.clone();
    int at = 0;
    for (int i = 0; i < x.length; i++)
      for (int j = i; j < x.length; j++, at += 8) add(next, at, weight * x[i] * x[j]);
    for (int i = 0; i < x.length; i++, at += 8) add(next, at, weight * reward * x[i]);
    add(next, at, weight);
    return next;
  }

  private static byte[] add(byte[] sums, byte[] others, double weight) {
    var next = sums.clone();
    for (int at = 0; at < next.length; at += 8) add(next, at, weight * (double) DOUBLE.get(others, at));
    return next;
  }

  /** A sum that begins at +0 never becomes -0. */
  private static void add(byte[] sums, int at, double term) {
    DOUBLE.set(sums, at, (double) DOUBLE.get(sums, at) + term);
  }
}
