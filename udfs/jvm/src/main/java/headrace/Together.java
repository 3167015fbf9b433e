package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
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
 * total.
 *
 * <p>Changes come many at a time, and one row goes out for all of them. A run that restores Redis sends one row at its
 * end.
 */
@DataTypeHint("ROW<cells BYTES, as_of_ms BIGINT>")
public class Together extends ProcessTableFunction<Row> {
  private static final long END = Long.MAX_VALUE - 1; // before the last watermark, after any other

  /** The savepoint's schema (see UserHistory.User). */
  public static class Item {
    public long asOf = Long.MIN_VALUE; // append_ms of the newest event that moved a count
  }

  private transient int horizon;
  private transient boolean atEnd;

  @Override
  public void open(FunctionContext context) {
    horizon = (int) UserHistory.setting(context, "horizon_days");
    atEnd = Boolean.parseBoolean(context.getJobParameter("headrace.at_end", ""));
  }

  /**
   * @param others by item: Other, without items that no user holds together with this one
   * @param input changes, as Totals sends them
   */
  public void eval(
      Context context,
      @StateHint(ttl = UserHistory.NO_TTL) Item item,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, byte[]> others,
      @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    var changed = new HashMap<String, Other>();
    for (byte[] bytes : (byte[][]) input.getField("changes")) {
      var change = Totals.Change.read(bytes);
      item.asOf = Math.max(item.asOf, change.asOf());
      var other = changed.get(change.other());
      if (other == null) changed.put(change.other(), other = Other.read(others.get(change.other())));
      other.apply(change, horizon);
    }
    for (var entry : changed.entrySet()) {
      if (entry.getValue().users.isEmpty()) others.remove(entry.getKey());
      else others.put(entry.getKey(), entry.getValue().write());
    }
    if (atEnd) context.timeContext(Long.class).registerOnTime(END);
    else collect(Row.of(cells(others), item.asOf));
  }

  public void onTimer(OnTimerContext context, Item item, MapView<String, byte[]> others) throws Exception {
    collect(Row.of(cells(others), item.asOf));
  }

  /** Packs the other items as udfs/covisitation/together_lists.py reads them: u16 lengths of name and Other, then both. */
  private byte[] cells(MapView<String, byte[]> others) throws Exception {
    var all = new ArrayList<Map.Entry<String, byte[]>>();
    int newest = Integer.MIN_VALUE, size = 0;
    for (var entry : others.entries()) {
      all.add(Map.entry(entry.getKey(), entry.getValue()));
      newest = Math.max(newest, Math.max(Other.newest(entry.getValue()), Other.last(entry.getValue())));
      size += 4 + 3 * entry.getKey().length() + entry.getValue().length;
    }
    var buffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    for (var entry : all) {
      if (Other.last(entry.getValue()) <= newest - horizon) {
        others.remove(entry.getKey());
        continue;
      }
      var name = entry.getKey().getBytes(StandardCharsets.UTF_8);
      buffer.putShort((short) name.length).putShort((short) entry.getValue().length).put(name).put(entry.getValue());
    }
    return Arrays.copyOf(buffer.array(), buffer.position());
  }

  /**
   * Layout of write(), little-endian: newest i32, rounded f64 of the other's total, then bucket i32, users i32,
   * ascending.
   */
  static final class Other {
    private static final int HEAD = 12, CELL = 8;
    int newest;
    double rounded;
    final TreeMap<Integer, Integer> users = new TreeMap<>();

    void apply(Totals.Change change, int horizon) {
      newest = change.newest();
      rounded = change.rounded();
      if (change.sign() == 0) return;
      users.merge(change.bucket(), (int) change.sign(), (a, b) -> a + b == 0 ? null : a + b);
      if (!users.isEmpty()) users.headMap(users.lastKey() - horizon, true).clear();
    }

    static int newest(byte[] bytes) {
      return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt();
    }

    static int last(byte[] bytes) {
      return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt(bytes.length - CELL);
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

    byte[] write() {
      var buffer = ByteBuffer.allocate(HEAD + CELL * users.size()).order(ByteOrder.LITTLE_ENDIAN);
      buffer.putInt(newest).putDouble(rounded);
      users.forEach((bucket, count) -> buffer.putInt(bucket).putInt(count));
      return buffer.array();
    }
  }
}
