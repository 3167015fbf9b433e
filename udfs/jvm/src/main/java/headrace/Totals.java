package headrace;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * How many users hold an item, by kind. The items that it is together with need this total to weigh their pairs.
 *
 * <p>Each change of a pair goes on to its other item, with the total of this one. A total that changes alone would have
 * to go to every item it is together with, at each event. So it is rounded down to two bits, in a form that a new day
 * does not change (Decay.rounded), and sent only when that changes.
 */
@DataTypeHint("ROW<target STRING, change BYTES>")
public class Totals extends ProcessTableFunction<Row> {
  static final int NONE = Integer.MIN_VALUE; // newest bucket of an item that nobody holds

  /** The savepoint's schema (see UserHistory.User). */
  public static class Total {
    public long[] users = {}; // bucket, users, bucket, users, ...; ascending
    public int newest = NONE; // the bucket as of which `rounded` is
    public double rounded; // what other items know
  }

  private transient Counter sent;
  private transient Faults faults;
  private transient Decay decay;
  private transient List<Row> rows;

  @Override
  public void open(FunctionContext context) {
    decay = decay(context);
    rows = new ArrayList<>();
    var metrics = context.getMetricGroup().addGroup("headrace");
    sent = metrics.counter("totals_told");
    faults = new Faults(Totals.class, metrics);
  }

  static Decay decay(FunctionContext context) {
    double halfLife = Double.parseDouble(context.getJobParameter("headrace.half_life_days", ""));
    return new Decay(halfLife, (int) UserHistory.setting(context, "horizon_days"));
  }

  /**
   * @param together each item that this one was together with, and the newest bucket of that
   * @param input a row of Baskets
   */
  public void eval(
      @StateHint(ttl = UserHistory.NO_TTL) Total total,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, Long> together,
      @ArgumentHint({ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME}) Row input)
      throws Exception {
    rows.clear();
    try {
      handle(total, together, input);
    } catch (RuntimeException fault) {
      faults.of(fault, input);
    }
    rows.forEach(this::collect);
  }

  private void handle(Total total, MapView<String, Long> together, Row input) throws Exception {
    var item = (String) input.getField("item");
    var others = Set.of((String[]) input.getField("others"));
    long bucket = (Long) input.getField("bucket");
    byte sign = (Byte) input.getField("sign");
    boolean moved = others.contains(item) && count(total, bucket, sign);
    for (var other : others) {
      rows.add(change(other, total, item, (Long) input.getField("as_of_ms"), (int) bucket, sign));
      Long newest = together.get(other);
      if (newest == null || newest < bucket) together.put(other, bucket);
    }
    if (moved) send(total, together, item, others);
  }

  private static Row change(String target, Total total, String item, long asOf, int... cell) {
    return Row.of(target, new PairChange(item, total.newest, total.rounded, asOf, cell).write());
  }

  /** Counts a user in or out of a bucket. True if the part of the total that other items know has changed. */
  private boolean count(Total total, long bucket, byte sign) {
    var users = new TreeMap<Long, Long>();
    for (int i = 0; i < total.users.length; i += 2) users.put(total.users[i], total.users[i + 1]);
    users.merge(bucket, (long) sign, (a, b) -> a + b == 0 ? null : a + b);
    if (!users.isEmpty()) users.headMap(users.lastKey() - decay.horizon, true).clear();
    total.users = users.entrySet().stream().flatMapToLong(e -> LongStream.of(e.getKey(), e.getValue())).toArray();
    var now = users.isEmpty() ? new Decay.AsOf(NONE, 0) : rounded(users);
    boolean moved = now.bucket() != total.newest || now.value() != total.rounded;
    total.newest = now.bucket();
    total.rounded = now.value();
    return moved;
  }

  private Decay.AsOf rounded(TreeMap<Long, Long> users) {
    int newest = (int) (long) users.lastKey();
    double sum = 0;
    for (var entry : users.entrySet()) sum += entry.getValue() * decay.weight((int) (long) entry.getKey(), newest);
    return decay.rounded(sum, newest);
  }

  /** Rounds down to two significant bits: 1 or 1.5 times a power of 2. */
  static double roundedDown(double value) {
    return Double.longBitsToDouble(Double.doubleToLongBits(value) & -1L << 51);
  }

  /** Sends the total to the items that it is together with, except to those that know it already. */
  private void send(Total total, MapView<String, Long> together, String item, Set<String> knowing) throws Exception {
    var expired = new ArrayList<String>();
    long newest = total.users.length == 0 ? Long.MIN_VALUE + decay.horizon : total.users[total.users.length - 2];
    for (Map.Entry<String, Long> entry : together.entries()) {
      if (entry.getValue() <= newest - decay.horizon) {
        expired.add(entry.getKey());
      } else if (!knowing.contains(entry.getKey())) {
        sent.inc();
        rows.add(change(entry.getKey(), total, item, Long.MIN_VALUE));
      }
    }
    for (var other : expired) together.remove(other);
  }
}
