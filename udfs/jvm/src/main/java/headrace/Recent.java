package headrace;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Events, one after another in one byte array: it is copied and stored as a whole, and searched in place. */
final class Recent {
  private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  private Recent() {}

  static int next(byte[] recent, int at) {
    return at + 2 + ((recent[at] & 0xff) | (recent[at + 1] & 0xff) << 8);
  }

  static boolean has(byte[] recent, long id) {
    for (int at = 0; at < recent.length; at = next(recent, at)) {
      if ((long) LONG.get(recent, at + Event.ID) == id) return true;
    }
    return false;
  }

  static int session(byte[] recent, int at) {
    return (int) INT.get(recent, at + Event.SESSION) & ~Event.EMITTED;
  }

  static long category(byte[] recent, int at) {
    return (long) LONG.get(recent, at + Event.CATEGORY);
  }

  static boolean hasItem(byte[] recent, int at, byte[] item) {
    return Arrays.equals(recent, at + Event.ITEM, next(recent, at), item, 0, item.length);
  }

  static byte[] append(byte[] recent, Event event) {
    var bytes = event.write();
    var all = Arrays.copyOf(recent, recent.length + bytes.length);
    System.arraycopy(bytes, 0, all, recent.length, bytes.length);
    return all;
  }

  static void markEmitted(byte[] recent, int at) {
    INT.set(recent, at + Event.SESSION, (int) INT.get(recent, at + Event.SESSION) | Event.EMITTED);
  }

  /** The last n of the kept events. */
  static byte[] last(byte[] recent, int kept, int n) {
    int at = 0;
    for (int skip = kept - n; skip > 0; skip--) at = next(recent, at);
    return Arrays.copyOfRange(recent, at, recent.length);
  }
}
