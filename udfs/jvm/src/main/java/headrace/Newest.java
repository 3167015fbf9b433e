package headrace;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;

/**
 * Keeps the newest row of each key for a while, so that what follows sees a key by the clock and not by the record.
 *
 * <p>The key is the first two columns, text. everyMs: so long after the first row they go on; 0: with checkpoints alone.
 * What follows may be slower than the rows come: then they wait longer here, so that it sees fewer, and most of the time
 * goes to what comes before.
 */
final class Newest extends HeldBack {
  private static final long serialVersionUID = 1;
  static final long MOST_BYTES = 64 << 20; // of the rows' column at `bytesAt`, by far the largest
  private static final int REST = 4; // times as long as the last rows took

  private record Key(String first, String second) {}

  private final long everyMs;
  private final RowDataSerializer serializer;
  private final int bytesAt;
  private transient Map<Key, RowData> rows;
  private transient long held, tookMs;

  Newest(long everyMs, RowDataSerializer serializer, int bytesAt) {
    this.everyMs = everyMs;
    this.serializer = serializer;
    this.bytesAt = bytesAt;
  }

  @Override
  public void open() throws Exception {
    super.open();
    rows = new LinkedHashMap<>();
  }

  @Override
  public void processElement(StreamRecord<RowData> record) {
    var row = record.getValue();
    var before = rows.put(new Key(row.getString(0).toString(), row.getString(1).toString()), serializer.copy(row));
    held += row.getBinary(bytesAt).length - (before == null ? 0 : before.getBinary(bytesAt).length);
    if (held >= MOST_BYTES) flush();
    else if (everyMs > 0) flushAfter(Math.max(everyMs, REST * tookMs));
  }


  @Override
  void flush() {
    long began = System.nanoTime();
    for (var row : rows.values()) output.collect(new StreamRecord<>(row));
    rows.clear();
    held = 0;
    tookMs = (System.nanoTime() - began) / 1_000_000;
  }
}
