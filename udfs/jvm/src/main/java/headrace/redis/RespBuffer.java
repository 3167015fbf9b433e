package headrace.redis;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Commands as bytes (RESP2), one after the other. */
final class RespBuffer {
  private static final int KEPT_BYTES = 1 << 22; // a buffer that one large value made is not kept
  private byte[] bytes;
  private int size;

  RespBuffer(int bytes) {
    this.bytes = new byte[bytes];
  }

  /** One command of words that need no escaping. */
  static byte[] command(Object... words) {
    var command = new RespBuffer(64).array(words.length);
    for (var word : words) command.bulk(word instanceof byte[] raw ? raw : utf8(word.toString()));
    return command.toBytes();
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** The head of a command of so many words. */
  RespBuffer array(int words) {
    return length('*', words);
  }

  /** One word. */
  RespBuffer bulk(byte[] word) {
    return length('$', word.length).append(word).end();
  }

  /** One word, in two parts. */
  RespBuffer bulk(byte[] head, byte[] tail) {
    return length('$', head.length + tail.length).append(head).append(tail).end();
  }

  RespBuffer bulk(long number) {
    return bulk(utf8(Long.toString(number)));
  }

  RespBuffer append(byte[] raw) {
    room(raw.length);
    System.arraycopy(raw, 0, bytes, size, raw.length);
    size += raw.length;
    return this;
  }

  private RespBuffer length(char kind, int value) {
    room(16);
    bytes[size++] = (byte) kind;
    int digits = 1;
    for (int rest = value; rest >= 10; rest /= 10) digits++;
    for (int at = size + digits - 1, rest = value; at >= size; at--, rest /= 10) bytes[at] = (byte) ('0' + rest % 10);
    size += digits;
    return end();
  }

  private RespBuffer end() {
    room(2);
    bytes[size++] = '\r';
    bytes[size++] = '\n';
    return this;
  }

  private void room(int more) {
    int needed = Math.addExact(size, more);
    if (needed <= bytes.length) return;
    bytes = Arrays.copyOf(bytes, (int) Math.min(Integer.MAX_VALUE - 8L, Math.max(needed, 2L * bytes.length)));
  }

  int size() {
    return size;
  }

  byte[] toBytes() {
    return Arrays.copyOf(bytes, size);
  }

  /** Hands all bytes over, and is empty then. */
  void drainTo(OutputStream out) throws IOException {
    try {
      out.write(bytes, 0, size);
    } finally {
      size = 0;
      if (bytes.length > KEPT_BYTES) bytes = new byte[KEPT_BYTES];
    }
  }
}
