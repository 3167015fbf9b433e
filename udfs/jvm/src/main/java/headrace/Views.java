package headrace;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.apache.flink.table.api.dataview.ListView;
import org.apache.flink.table.api.dataview.MapView;

/** The views of a user's state, whose changes wait until a row is handled: one that fails leaves no trace. */
final class Views {
  private final MapView<String, Boolean> seen;
  private final ListView<byte[]> log;
  private final List<String> addedSeen = new ArrayList<>(0);
  private List<byte[]> addedLog = new ArrayList<>(0);
  private boolean clearSeen, clearLog;

  Views(MapView<String, Boolean> seen, ListView<byte[]> log) {
    this.seen = seen;
    this.log = log;
  }

  /** Whether `seen` had the key before this row. */
  boolean hasSeen(String key) throws Exception {
    return seen.contains(key);
  }

  void see(String key) {
    addedSeen.add(key);
  }

  void forgetSeen() {
    clearSeen = true;
  }

  void log(byte[] event) {
    addedLog.add(event);
  }

  /** Takes out of the log the events that `taken` takes. Returns whether any is left. */
  boolean takeFromLog(Predicate<Event> taken) throws Exception {
    var rest = new ArrayList<byte[]>();
    for (byte[] bytes : log.get()) if (!taken.test(Event.read(bytes, 0))) rest.add(bytes);
    for (byte[] bytes : addedLog) if (!taken.test(Event.read(bytes, 0))) rest.add(bytes);
    addedLog = rest;
    clearLog = true;
    return !rest.isEmpty();
  }

  void commit() throws Exception {
    if (clearSeen) seen.clear();
    for (var key : addedSeen) seen.put(key, true);
    if (clearLog) log.clear();
    if (!addedLog.isEmpty()) log.addAll(addedLog);
  }
}
