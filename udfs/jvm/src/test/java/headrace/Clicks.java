package headrace;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.types.Row;

/** A UserHistory that tests feed with clicks, whose settings are those of the project's defaults but for `changed`. */
final class Clicks {
  static final long MINUTE_MS = 60_000;
  static final List<String> ACTIONS = List.of("view", "click", "like", "share", "purchase", "refund", "rate", "ignore",
      "dislike", "block", "search", "cart", "uncart");
  private static final String COLUMNS = "user_id event_id ts_ms append_ms action item_id category session_id amount"
      + " key value partition offset append_ts";
  final Harness harness;
  private long offset;

  Clicks(Map<String, ?> changed) throws Exception {
    var parameters = new HashMap<String, Object>(Map.of("gap_ms", 30 * MINUTE_MS, "lateness_ms", 10 * MINUTE_MS,
        "forget_ms", 30L * 1440 * MINUTE_MS, "history", 50, "recent", 10, "actions", String.join(" ", ACTIONS)));
    parameters.putAll(changed);
    harness = new Harness(new UserHistory(), parameters, COLUMNS, "user_id");
  }

  /** A view of user u, by its minute. */
  List<Row> view(String event, double minute, String item) throws Exception {
    return act("u", event, Math.round(minute * MINUTE_MS), "view", item, null);
  }

  List<Row> act(String user, String event, long ts, String action, String item, String session) throws Exception {
    var key = user.getBytes("UTF-8");
    return harness.insert(ts, user, event, ts, ts + 1, (byte) ACTIONS.indexOf(action), item, null, session, 0.0,
        key, new byte[0], 0, offset++, null);
  }

  static List<Row> ofKind(byte kind, List<Row> rows) {
    return rows.stream().filter(row -> row.<Byte>getFieldAs(0) == kind).toList();
  }
}
