package headrace;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.LongStream;

/**
 * What a closed session says of its events, taken one at a time: all are counted, and the first items listed, as many as
 * MAX_ITEMS and MAX_BYTES allow.
 *
 * <p>It holds no more of an event than a number, however long the session was.
 */
final class ClosedSpan {
  static final int MAX_ITEMS = 1_000;
  /** Kafka takes a record of 1,048,588 bytes, and nothing may be compressible. */
  static final int MAX_BYTES = 900_000;

  private record Item(long t, byte[] id) {}

  private static final Comparator<Item> ORDER =
      Comparator.comparingLong(Item::t).thenComparing(Item::id, Arrays::compareUnsigned); // like code points
  final long start, end;
  private final long[] counts; // by action
  private final Map<String, Item> first = new HashMap<>(); // by id: the earliest of its events
  private final TreeSet<Item> listed = new TreeSet<>(ORDER); // the values of `first`
  private final LongStream.Builder hashes = LongStream.builder();
  private long bytes; // of the listed ids in JSON
  private boolean truncated;

  ClosedSpan(long start, long end, int actions) {
    this.start = start;
    this.end = end;
    this.counts = new long[actions];
  }

  void add(Event event) {
    counts[event.action]++;
    if (event.item.length > 0) add(new Item(event.t, event.item));
  }

  /** An item that was left out comes back with an earlier event: the last one listed only ever gets earlier. */
  private void add(Item item) {
    var id = new String(item.id, StandardCharsets.UTF_8);
    hashes.add(Event.hash(id));
    var known = first.get(id);
    if (known != null && known.t <= item.t) return;
    if (known == null) bytes += jsonBytes(id);
    else listed.remove(known);
    listed.add(item);
    first.put(id, item);
    while (listed.size() > MAX_ITEMS || bytes > MAX_BYTES) leaveOutLast();
  }

  private void leaveOutLast() {
    truncated = true;
    var id = new String(listed.pollLast().id, StandardCharsets.UTF_8);
    first.remove(id);
    bytes -= jsonBytes(id);
  }

  /** At most so many bytes: Flink writes a character beyond 16 bits as two escapes of six. */
  static long jsonBytes(String id) {
    long bytes = 3; // quotes and a comma
    for (int i = 0; i < id.length(); i++) {
      char unit = id.charAt(i);
      bytes += unit < 0x20 || Character.isSurrogate(unit) ? 6 : unit < 0x80 ? 2 : 3;
    }
    return bytes;
  }

  /** start, end, events, counts, items, distinct_items, truncated. */
  Object[] columns(String[] actions) {
    var byAction = new TreeMap<String, Long>();
    for (int i = 0; i < counts.length; i++) if (counts[i] > 0) byAction.put(actions[i], counts[i]);
    var items = listed.stream().map(item -> new String(item.id, StandardCharsets.UTF_8)).toArray(String[]::new);
    return new Object[] {start, end, Arrays.stream(counts).sum(), byAction, items,
        truncated ? distinct() : items.length, truncated};
  }

  private long distinct() {
    var sorted = hashes.build().sorted().toArray();
    long count = 0;
    for (int i = 0; i < sorted.length; i++) if (i == 0 || sorted[i] != sorted[i - 1]) count++;
    return count;
  }
}
