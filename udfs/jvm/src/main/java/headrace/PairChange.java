package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What happened to an item's pair with an `other` one: the users gained and lost, by bucket, and the other's total.
 *
 * <p>Layout, little-endian: the bucket as of which the total is i32, the total f64, as of which event i64, the numbers of
 * ints of the cells i32 and of bytes of the name i32; then bucket i32 and users i32 of each cell, and the name. Several follow each other.
 */
final class PairChange {
  private static final int HEAD = 28;
  final String other;
  int newest; // the bucket as of which `rounded` is
  double rounded;
  long asOf; // append_ms of the newest event; Long.MIN_VALUE if the total alone has changed
  int[] cells; // bucket, users, bucket, users, ...

  PairChange(String other, int newest, double rounded, long asOf, int... cells) {
    this.other = other;
    this.newest = newest;
    this.rounded = rounded;
    this.asOf = asOf;
    this.cells = cells;
  }

  /** Adds what happened after this. */
  void add(PairChange later) {
    newest = later.newest;
    rounded = later.rounded;
    asOf = Math.max(asOf, later.asOf);
    for (int i = 0; i < later.cells.length; i += 2) gain(later.cells[i], later.cells[i + 1]);
  }

  private void gain(int bucket, int users) {
    int i = 0;
    while (i < cells.length && cells[i] != bucket) i += 2;
    if (i == cells.length) {
      cells = Arrays.copyOf(cells, i + 2);
      cells[i] = bucket;
    }
    cells[i + 1] += users;
  }

  byte[] write() {
    var name = other.getBytes(StandardCharsets.UTF_8);
    var buffer = ByteBuffer.allocate(HEAD + 4 * cells.length + name.length).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putInt(newest).putDouble(rounded).putLong(asOf).putInt(cells.length).putInt(name.length);
    for (int each : cells) buffer.putInt(each);
    return buffer.put(name).array();
  }

  static List<PairChange> readAll(byte[] bytes) {
    var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    var changes = new ArrayList<PairChange>();
    while (buffer.hasRemaining()) changes.add(read(buffer));
    return changes;
  }

  private static PairChange read(ByteBuffer buffer) {
    int newest = buffer.getInt();
    double rounded = buffer.getDouble();
    long asOf = buffer.getLong();
    var cells = new int[buffer.getInt()];
    var name = new byte[buffer.getInt()];
    for (int i = 0; i < cells.length; i++) cells[i] = buffer.getInt();
    buffer.get(name);
    return new PairChange(new String(name, StandardCharsets.UTF_8), newest, rounded, asOf, cells);
  }
}
