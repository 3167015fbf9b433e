package headrace;

import headrace.UserHistory.User;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.types.Row;

/** The rows that UserHistory gives out, by kind. */
final class HistoryRow {
  private static final int[] FIRST = {1, 4, 11, 11}; // by kind: the index of its first column
  private static final int COLUMNS = 16;

  private HistoryRow() {}

  /** The columns of the other kinds are null. */
  static Row of(byte kind, Object... columns) {
    var row = new Row(COLUMNS);
    row.setField(0, kind);
    for (int i = 0; i < columns.length; i++) row.setField(FIRST[kind] + i, columns[i]);
    return row;
  }

  static Row live(User user, int recent, int actions) {
    var last = Recent.last(user.recent, user.kept, recent);
    return of(UserHistory.LIVE, counters(user, recent, actions), user.sessionId, last);
  }

  /** Packs the counters little-endian, as SessionJson reads them. The state may know fewer actions than the schema. */
  private static byte[] counters(User user, int recent, int actions) {
    var buffer = ByteBuffer.allocate(8 * (10 + actions)).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(user.start).putLong(user.end).putLong(user.asOf).putLong(user.events);
    buffer.putLong(user.items).putLong(user.categories).putLong(user.late).putLong(user.repeats);
    buffer.putLong(user.kept > recent ? 1 : 0).putDouble(user.amount);
    for (long count : user.counts) buffer.putLong(count);
    return buffer.array();
  }

  static Row letter(byte kind, Row input, String detail) {
    return of(kind, input.getField("key"), input.getField("value"), input.getField("partition"),
        input.getField("offset"), detail);
  }

  static String place(Row input) {
    return "partition " + input.getField("partition") + ", offset " + input.getField("offset");
  }
}
