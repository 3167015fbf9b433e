package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * What an item is together with, by kind: for each other item how many users hold both in each bucket, and the other's
 * total. For EVERYBODY and the kind touched: how many users hold each item.
 *
 * <p>Changes come many at a time, and one row goes out for all of them, with the others that rank first (Ranking). A
 * run that restores Redis sends one row at its end.
 */
@DataTypeHint("ROW<scores BYTES, norm DOUBLE, as_of_ms BIGINT>")
public class Together extends ProcessTableFunction<Row> {
  private static final long END = Long.MAX_VALUE - 1; // before the last watermark, after any other

  /** The savepoint's schema (see UserHistory.User). */
  public static class Item {
    public long asOf = Long.MIN_VALUE; // append_ms of the newest event that moved a count
  }

  private transient Ranking ranking;
  private transient Faults faults;
  private transient boolean atEnd;

  @Override
  public void open(FunctionContext context) {
    ranking = new Ranking(Totals.decay(context), Double.parseDouble(context.getJobParameter("headrace.shrink", "")));
    atEnd = Boolean.parseBoolean(context.getJobParameter("headrace.at_end", ""));
    faults = new Faults(Together.class, context.getMetricGroup().addGroup("headrace"));
  }

  /**
   * @param others by item: Other, without items that no user holds together with this one
   * @param ranked what is known of the others that rank first
   * @param best those, with their scores; 0.1.0 and 0.2.0 did not keep them
   * @param input item, kind, changes: PairChange of several others
   */
  public void eval(
      Context context,
      @StateHint(ttl = UserHistory.NO_TTL) Item item,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, byte[]> others,
      @StateHint(ttl = UserHistory.NO_TTL) Ranking.Ranked ranked,
      @StateHint(ttl = UserHistory.NO_TTL) Ranking.Best best,
      @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    ranked.item = (String) input.getField("item");
    ranked.kind = (Byte) input.getField("kind");
    Row row = null;
    try {
      var changed = change(item, others, ranked, PairChange.readAll((byte[]) input.getField("changes")));
      if (!atEnd) row = row(item, ranked, best, others, changed);
    } catch (RuntimeException fault) {
      faults.of(fault, ranked.item);
      ranked.scanned = Ranking.NONE;
    }
    if (atEnd) context.timeContext(Long.class).registerOnTime(END);
    else if (row != null) collect(row);
  }

  public void onTimer(OnTimerContext context, Item item, MapView<String, byte[]> others, Ranking.Ranked ranked,
      Ranking.Best best) throws Exception {
    ranked.scanned = Ranking.NONE; // nothing was ranked on the way
    collect(row(item, ranked, best, others, Map.of()));
  }

  /** Applies the changes, and returns the others that they change. */
  private Map<String, Other> change(Item item, MapView<String, byte[]> others, Ranking.Ranked ranked,
      List<PairChange> changes) throws Exception {
    var changed = new HashMap<String, Other>();
    for (var change : changes) {
      item.asOf = Math.max(item.asOf, change.asOf);
      var other = changed.get(change.other);
      if (other == null) changed.put(change.other, other = Other.read(others.get(change.other)));
      other.apply(change, ranking.decay.horizon);
      if (ranked.kind == Baskets.TOUCHED) ranked.count(change.cells);
    }
    for (var entry : changed.entrySet()) {
      if (entry.getValue().users.isEmpty()) others.remove(entry.getKey());
      else others.put(entry.getKey(), entry.getValue().write());
    }
    return changed;
  }

  private Row row(Item item, Ranking.Ranked ranked, Ranking.Best best, MapView<String, byte[]> others,
      Map<String, Other> changed) throws Exception {
    var first = ranking.rank(ranked, best, others, changed);
    return Row.of(first.scores(), first.norm(), item.asOf);
  }

  /**
   * Layout of write(), little-endian: the other's total, as the bucket i32 as of which it is and its value f64; then
   * bucket i32, users i32, ascending.
   */
  static final class Other {
    private static final int HEAD = 12, CELL = 8;
    int newest; // the bucket as of which `rounded` is
    double rounded;
    final TreeMap<Integer, Integer> users = new TreeMap<>();

    /** Counts that come and go within one change still move the horizon, as they would one after the other. */
    void apply(PairChange change, int horizon) {
      newest = change.newest;
      rounded = change.rounded;
      int last = last();
      for (int i = 0; i < change.cells.length; i += 2) {
        last = Math.max(last, change.cells[i]);
        if (change.cells[i + 1] != 0) users.merge(change.cells[i], change.cells[i + 1], Other::sumOrNone);
      }
      if (!users.isEmpty()) users.headMap(last - horizon, true).clear();
    }

    private static Integer sumOrNone(int a, int b) {
      return a + b == 0 ? null : Integer.valueOf(a + b);
    }

    Decay.AsOf total() {
      return new Decay.AsOf(newest, rounded);
    }

    static Other read(byte[] bytes) {
      var other = new Other();
      if (bytes == null) return other;
      var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
      other.newest = buffer.getInt();
      other.rounded = buffer.getDouble();
      while (buffer.hasRemaining()) other.users.put(buffer.getInt(), buffer.getInt());
      return other;
    }

    /** The newest bucket with a count; Ranking.NONE if there is none. */
    int last() {
      return users.isEmpty() ? Ranking.NONE : users.lastKey();
    }

    byte[] write() {
      var buffer = ByteBuffer.allocate(HEAD + CELL * users.size()).order(ByteOrder.LITTLE_ENDIAN);
      buffer.putInt(newest).putDouble(rounded);
      users.forEach((bucket, count) -> buffer.putInt(bucket).putInt(count));
      return buffer.array();
    }
  }
}
