package headrace.contract;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** What a record's bytes are, without an exception and without a copy. */
final class Utf8 {
  private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  private static final long TOP_BITS = 0x8080808080808080L;

  private Utf8() {}

  /** The place of the first byte beyond ASCII, or about it: at most 7 before; the length if there is none. */
  static int ascii(byte[] bytes) {
    int i = 0;
    for (; i + 8 <= bytes.length; i += 8) if (((long) LONGS.get(bytes, i) & TOP_BITS) != 0) return i;
    while (i < bytes.length && bytes[i] >= 0) i++;
    return i;
  }

  /** The place of the first sequence that is no UTF-8 (RFC 3629), or -1. */
  static int fault(byte[] bytes, int from) {
    int i = from;
    while (i < bytes.length) {
      int first = bytes[i];
      int more = more(first & 0xff);
      if (more < 0 || i + more >= bytes.length) return i;
      if (more > 0 && !second(first & 0xff, bytes[i + 1] & 0xff)) return i;
      for (int k = 2; k <= more; k++) if ((bytes[i + k] & 0xc0) != 0x80) return i;
      i += more + 1;
    }
    return -1;
  }

  /** The bytes that follow the first one of a sequence, or -1. */
  private static int more(int first) {
    if (first < 0x80) return 0;
    if (first < 0xc2 || first > 0xf4) return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  }

  /** No longer a form than it needs to be, no surrogate, nothing beyond U+10FFFF. */
  private static boolean second(int first, int second) {
    int least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    int most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= least && second <= most;
  }

  /** The code points of valid UTF-8. */
  static int codePoints(byte[] bytes, int start, int length) {
    int count = 0;
    for (int i = start; i < start + length; i++) if ((bytes[i] & 0xc0) != 0x80) count++;
    return count;
  }

  /** The bytes of the first `count` code points, or the whole length. */
  static int prefix(byte[] bytes, int start, int length, int count) {
    int i = start;
    while (i < start + length && (count > 0 || (bytes[i] & 0xc0) == 0x80)) if ((bytes[i++] & 0xc0) != 0x80) count--;
    return i - start;
  }
}
