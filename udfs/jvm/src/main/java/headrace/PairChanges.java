package headrace;

import java.io.ByteArrayOutputStream;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Adds up the changes of each item's pairs for a while, before they go to the one place where the item is. So many of
 * them make one row and one list, and a total that moves up and down is told once.
 *
 * <p>In: item, kind, change, as Totals sends them. Out: item, kind, changes; the PairChange of each other.
 */
final class PairChanges extends HeldBack {
  private static final long serialVersionUID = 1;
  static final long MOST_BYTES = 64 << 20; // of all changes
  static final int PAIR_BYTES = 256; // of each, about, with what finds it

  private record Listed(String item, byte kind) {}

  private final long everyMs;
  private transient Map<Listed, Map<String, PairChange>> items;
  private transient Faults faults;
  private transient long held;

  PairChanges(long everyMs) {
    this.everyMs = everyMs;
  }

  @Override
  public void open() throws Exception {
    super.open();
    items = new LinkedHashMap<>();
    faults = new Faults(PairChanges.class, getMetricGroup().addGroup("headrace"));
  }

  @Override
  public void processElement(StreamRecord<RowData> record) {
    var row = record.getValue();
    try {
      var item = new Listed(row.getString(0).toString(), row.getByte(1));
      for (var change : PairChange.readAll(row.getBinary(2))) add(item, change);
    } catch (RuntimeException fault) {
      faults.of(fault, row);
    }
    if (held >= MOST_BYTES) flushNow();
    else flushPaced(everyMs);
  }

  private void add(Listed item, PairChange change) {
    var before = items.computeIfAbsent(item, each -> new LinkedHashMap<>()).putIfAbsent(change.other, change);
    held += 4L * change.cells.length;
    if (before == null) held += PAIR_BYTES + item.item.length() + change.other.length();
    else before.add(change);
  }

  @Override
  void flush() {
    items.forEach((item, changes) -> output.collect(new StreamRecord<>(GenericRowData.of(
        StringData.fromString(item.item), item.kind, written(changes)))));
    items.clear();
    held = 0;
  }

  private static byte[] written(Map<String, PairChange> changes) {
    var bytes = new ByteArrayOutputStream();
    for (var change : changes.values()) bytes.writeBytes(change.write());
    return bytes.toByteArray();
  }
}
