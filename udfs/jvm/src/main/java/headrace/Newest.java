package headrace;

import static org.apache.flink.table.data.RowData.createFieldGetter;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.RowData.FieldGetter;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.logical.RowType;

/**
 * Keeps the newest row of each key for a while, so that what follows sees a key by the clock and not by the record.
 *
 * <p>keys: the indices of the key's columns. everyMs: so long after the first row they go on, or later if what follows
 * is slow; 0: with checkpoints alone.
 */
final class Newest extends HeldBack {
  private static final long serialVersionUID = 1;
  static final long MOST_BYTES = 64 << 20; // of all rows: their column at `bytesAt`, and ROW_BYTES for the rest of each
  static final int ROW_BYTES = 512;

  private final long everyMs;
  private final RowDataSerializer serializer;
  private final FieldGetter[] keys;
  private final int bytesAt;
  private transient Map<List<Object>, RowData> rows;
  private transient long held;

  Newest(long everyMs, RowType type, int[] keys, int bytesAt) {
    this.everyMs = everyMs;
    this.serializer = new RowDataSerializer(type);
    this.keys = Arrays.stream(keys).mapToObj(at -> createFieldGetter(type.getTypeAt(at), at)).toArray(FieldGetter[]::new);
    this.bytesAt = bytesAt;
  }

  @Override
  public void open() throws Exception {
    super.open();
    rows = new LinkedHashMap<>();
  }

  @Override
  public void processElement(StreamRecord<RowData> record) {
    var row = serializer.copy(record.getValue());
    var key = new ArrayList<>(keys.length);
    for (var each : keys) key.add(each.getFieldOrNull(row));
    var before = rows.put(key, row);
    held += bytes(row) - (before == null ? 0 : bytes(before));
    if (held >= MOST_BYTES) flushNow();
    else if (everyMs > 0) flushPaced(everyMs);
  }

  private int bytes(RowData row) {
    return ROW_BYTES + row.getBinary(bytesAt).length;
  }

  @Override
  void flush() {
    for (var row : rows.values()) output.collect(new StreamRecord<>(row));
    rows.clear();
    held = 0;
  }
}
