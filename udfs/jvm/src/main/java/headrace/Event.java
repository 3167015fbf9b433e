package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.types.Row;

/**
 * One accepted event of a user.
 *
 * <p>Layout of write(), little-endian: body length u16, id i64, t i64, session i32, category i64, action u8, item in
 * UTF-8. It is part of the savepoint's schema. The highest bit of `session` says that a closed session holds the event; 0.1.0
 * never set it.
 */
final class Event {
  static final int ID = 2, T = 10, SESSION = 18, CATEGORY = 22, ACTION = 30, ITEM = 31;
  static final int EMITTED = Integer.MIN_VALUE; // in the session's ordinal
  long id, t, appendMs, category;
  int session; // ordinal of the live session it was applied to, 0 if late
  boolean emitted; // a closed session holds it
  byte action;
  byte[] item;
  String sessionId;
  double amount;

  static Event of(Row row) {
    var event = new Event();
    event.id = hash((String) row.getField(1));
    event.t = (Long) row.getField(2);
    event.appendMs = (Long) row.getField(3);
    event.action = (Byte) row.getField(4);
    event.item = row.getField(5) == null ? new byte[0] : ((String) row.getField(5)).getBytes(StandardCharsets.UTF_8);
    event.category = row.getField(6) == null ? 0 : hash((String) row.getField(6));
    event.sessionId = (String) row.getField(7);
    event.amount = (Double) row.getField(8);
    return event;
  }

  static Event read(byte[] bytes, int at) {
    var event = new Event();
    var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    event.id = buffer.getLong(at + ID);
    event.t = buffer.getLong(at + T);
    int session = buffer.getInt(at + SESSION);
    event.session = session & ~EMITTED;
    event.emitted = session < 0;
    event.category = buffer.getLong(at + CATEGORY);
    event.action = bytes[at + ACTION];
    event.item = Arrays.copyOfRange(bytes, at + ITEM, Recent.next(bytes, at));
    return event;
  }

  byte[] write() {
    var buffer = ByteBuffer.allocate(ITEM + item.length).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putShort((short) (ITEM - 2 + item.length)).putLong(id).putLong(t);
    buffer.putInt(emitted ? session | EMITTED : session).putLong(category);
    return buffer.put(action).put(item).array();
  }

  /** FNV-1a over UTF-16 units, then a finaliser: 64 bits, never 0. */
  static long hash(String text) {
    long h = 0xcbf29ce484222325L;
    for (int i = 0; i < text.length(); i++) h = (h ^ text.charAt(i)) * 0x100000001b3L;
    h = (h ^ (h >>> 32)) * 0xd6e8feb86659fd93L;
    h ^= h >>> 32;
    return h == 0 ? 1 : h;
  }
}
