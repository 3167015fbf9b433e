package headrace;

import java.io.ByteArrayOutputStream;
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
@DataTypeHint("ROW<cells BYTES, bucket INT, as_of_ms BIGINT>")
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
   * @param ranked the others that rank first, and their scores; 0.1.0 and 0.2.0 did not keep them
   * @param input item, kind, changes as Totals sends them
   */
  public void eval(
      Context context,
      @StateHint(ttl = UserHistory.NO_TTL) Item item,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, byte[]> others,
      @StateHint(ttl = UserHistory.NO_TTL) Ranking.Ranked ranked,
      @StateHint(ttl = UserHistory.NO_TTL) Ranking.Scores scores,
      @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    ranked.item = (String) input.getField("item");
    ranked.kind = (Byte) input.getField("kind");
    Row row = null;
    try {
      var changed = change(item, others, ranked, (byte[][]) input.getField("changes"));
      if (!atEnd) row = row(item, ranked, scores, others, changed);
    } catch (RuntimeException fault) {
      faults.of(fault, ranked.item);
      ranked.scanned = Ranking.NONE;
    }
    if (atEnd) context.timeContext(Long.class).registerOnTime(END);
    else if (row != null) collect(row);
  }

  public void onTimer(OnTimerContext context, Item item, MapView<String, byte[]> others, Ranking.Ranked ranked,
      Ranking.Scores scores) throws Exception {
    ranked.scanned = Ranking.NONE; // nothing was ranked on the way
    collect(row(item, ranked, scores, others, Map.of()));
  }

  /** Applies the changes, and returns the others that they change. */
  private Map<String, Other> change(Item item, MapView<String, byte[]> others, Ranking.Ranked ranked, byte[][] changes)
      throws Exception {
    var changed = new HashMap<String, Other>();
    for (byte[] bytes : changes) {
      var change = Totals.Change.read(bytes);
      item.asOf = Math.max(item.asOf, change.asOf());
      var other = changed.get(change.other());
      if (other == null) changed.put(change.other(), other = Other.read(others.get(change.other())));
      other.apply(change, ranking.decay.horizon);
      if (ranked.kind == Baskets.TOUCHED) ranked.count(change.bucket(), change.sign());
    }
    for (var entry : changed.entrySet()) {
      if (entry.getValue().users.isEmpty()) others.remove(entry.getKey());
      else others.put(entry.getKey(), entry.getValue().write());
    }
    return changed;
  }

  private Row row(Item item, Ranking.Ranked ranked, Ranking.Scores scores, MapView<String, byte[]> others,
      Map<String, Other> changed) throws Exception {
    var first = ranking.rank(ranked, scores, others, changed);
    return Row.of(cells(ranked, first, others), ranked.bucket, item.asOf);
  }

  /**
   * Packs others as udfs/covisitation/together_lists.py reads them: u16 lengths of name and Other, then both. The item
   * itself is first.
   */
  private static byte[] cells(Ranking.Ranked ranked, List<String> first, MapView<String, byte[]> others)
      throws Exception {
    var cells = new ByteArrayOutputStream();
    byte[] own = ranked.kind == Baskets.TOUCHED ? null : others.get(ranked.item);
    if (own != null) pack(cells, ranked.item, own);
    for (var name : first) pack(cells, name, others.get(name));
    return cells.toByteArray();
  }

  private static void pack(ByteArrayOutputStream cells, String item, byte[] other) {
    byte[] name = item.getBytes(StandardCharsets.UTF_8);
    var lengths = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    lengths.putShort((short) name.length).putShort((short) other.length);
    cells.writeBytes(lengths.array());
    cells.writeBytes(name);
    cells.writeBytes(other);
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

    void apply(Totals.Change change, int horizon) {
      newest = change.newest();
      rounded = change.rounded();
      if (change.sign() == 0) return;
      users.merge(change.bucket(), (int) change.sign(), (a, b) -> a + b == 0 ? null : a + b);
      if (!users.isEmpty()) users.headMap(users.lastKey() - horizon, true).clear();
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
