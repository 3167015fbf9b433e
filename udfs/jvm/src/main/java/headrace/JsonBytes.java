package headrace;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.io.schubfach.DoubleToDecimal;

/** A buffer of JSON text in UTF-8. It is used again for the next value: `take` copies what was written. */
final class JsonBytes {
  private static final byte[][] SMALL = new byte[1000][];

  static {
    for (int i = 0; i < SMALL.length; i++) SMALL[i] = ascii(Integer.toString(i));
  }

  private byte[] bytes = new byte[4096];
  private int at;

  static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  /** The shortest decimal that reads back to the same float64. */
  static byte[] decimal(double value) {
    return ascii(DoubleToDecimal.toString(value));
  }

  void clear() {
    at = 0;
  }

  byte[] take() {
    return Arrays.copyOf(bytes, at);
  }

  void put(byte[] text) {
    need(text.length);
    System.arraycopy(text, 0, bytes, at, text.length);
    at += text.length;
  }

  void put(char ascii) {
    need(1);
    bytes[at++] = (byte) ascii;
  }

  void number(long value) {
    if (value >= 0 && value < SMALL.length) {
      put(SMALL[(int) value]);
      return;
    }
    if (value < 0) {
      put(ascii(Long.toString(value)));
      return;
    }
    int digits = 4;
    for (long limit = 10_000; digits < 19 && value >= limit; limit *= 10) digits++;
    need(digits);
    for (int i = at + digits - 1; i >= at; i--, value /= 10) bytes[i] = (byte) ('0' + value % 10);
    at += digits;
  }

  /** Quotes the UTF-8 text between two places. */
  void string(byte[] from, int start, int end) {
    need(6 * (end - start) + 2);
    bytes[at++] = '"';
    for (int i = start; i < end; i++) {
      byte b = from[i];
      if (b >= 0 && b < 0x20) {
        put(ascii(String.format("\\u%04x", b)));
      } else {
        if (b == '"' || b == '\\') bytes[at++] = '\\';
        bytes[at++] = b;
      }
    }
    bytes[at++] = '"';
  }

  private void need(int more) {
    if (at + more > bytes.length) bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, at + more));
  }
}
