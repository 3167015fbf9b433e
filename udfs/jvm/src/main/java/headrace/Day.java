package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The times at which the items of a user first came into the baskets of a day.
 *
 * <p>Layout of write(), little-endian: traded i32; then of each kind items i32, of each item t i64, length i32, UTF-8.
 */
final class Day {
  private static final int ACTED = Baskets.TOUCHED; // this index holds what was touched without a purchase
  static final Comparator<Map.Entry<String, Long>> ORDER =
      Map.Entry.<String, Long>comparingByValue()
          .thenComparing((a, b) -> Arrays.compareUnsigned(utf8(a.getKey()), utf8(b.getKey())));
  final List<Map<String, Long>> firsts = List.of(new HashMap<>(), new HashMap<>(), new HashMap<>());
  int traded; // items with purchases or refunds

  /** True if the event changes what the day keeps. */
  boolean act(String item, long t, boolean viewed, boolean touched, int cap) {
    boolean first = viewed && lower(Baskets.VIEWED, item, t, cap);
    return touched && lower(ACTED, item, t, cap) || first;
  }

  /** Keeps the first `cap` items alone: no other can come back, because times only fall. */
  private boolean lower(int kind, String item, long t, int cap) {
    var first = firsts.get(kind);
    Long before = first.get(item);
    if (before != null && before <= t) return false;
    first.put(item, t);
    if (first.size() <= cap) return true;
    var last = Collections.max(first.entrySet(), ORDER).getKey();
    first.remove(last);
    return !last.equals(item);
  }

  /** Sets the time of the first purchase that was not refunded, null if there is none. True if that is a change. */
  boolean stand(String item, Long t) {
    var bought = firsts.get(Baskets.BOUGHT);
    return t == null ? bought.remove(item) != null : !t.equals(bought.put(item, t));
  }

  /** The first `cap` items of a kind, in order. */
  Set<String> basket(byte kind, int cap) {
    var first = firsts.get(kind);
    if (kind == Baskets.TOUCHED) {
      first = new HashMap<>(first);
      for (var bought : firsts.get(Baskets.BOUGHT).entrySet()) {
        first.merge(bought.getKey(), bought.getValue(), Math::min);
      }
    }
    var basket = new LinkedHashSet<String>();
    first.entrySet().stream().sorted(ORDER).limit(cap).forEach(entry -> basket.add(entry.getKey()));
    return basket;
  }

  static Day read(byte[] bytes) {
    var day = new Day();
    if (bytes == null) return day;
    var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    day.traded = buffer.getInt();
    for (var first : day.firsts)
      for (int left = buffer.getInt(); left > 0; left--) {
        long t = buffer.getLong();
        var item = new byte[buffer.getInt()];
        buffer.get(item);
        first.put(new String(item, StandardCharsets.UTF_8), t);
      }
    return day;
  }

  byte[] write() {
    int size = 4;
    for (var first : firsts) {
      size += 4;
      for (var item : first.keySet()) size += 12 + 3 * item.length();
    }
    var buffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN).putInt(traded);
    for (var first : firsts) {
      buffer.putInt(first.size());
      for (var entry : first.entrySet()) {
        var item = utf8(entry.getKey());
        buffer.putLong(entry.getValue()).putInt(item.length).put(item);
      }
    }
    return Arrays.copyOf(buffer.array(), buffer.position());
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
