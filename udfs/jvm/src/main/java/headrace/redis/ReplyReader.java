package headrace.redis;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;

/** Replies (RESP2) from a stream: String, Long, byte[], list, {@link RedisError} or null. */
final class ReplyReader {
  /** Asked each time the socket's timeout has passed without a byte. */
  interface Silence {
    void check() throws IOException;
  }

  private static final int LONGEST_LINE = 1 << 16;
  private final InputStream in;
  private final byte[] bytes = new byte[1 << 16];
  private int at, end;
  Silence silence =
      () -> {
        throw new SocketTimeoutException("no reply");
      };

  ReplyReader(InputStream in) {
    this.in = in;
  }

  /** Whether a part of the next reply is here already. */
  boolean buffered() {
    return at < end;
  }

  Object read() throws IOException {
    byte kind = next();
    switch (kind) {
      case '+':
        return line();
      case '-':
        return RedisError.parse(line());
      case ':':
        return Long.parseLong(line());
      case '$':
        return bulk(Integer.parseInt(line()));
      case '*':
        return list(Integer.parseInt(line()));
      default:
        throw new IOException("no reply of Redis begins with byte " + kind);
    }
  }

  private byte[] bulk(int length) throws IOException {
    if (length < 0) return null;
    var value = new byte[length];
    for (int done = 0; done < length; ) {
      if (at == end) fill();
      int part = Math.min(length - done, end - at);
      System.arraycopy(bytes, at, value, done, part);
      at += part;
      done += part;
    }
    line();
    return value;
  }

  private Object list(int length) throws IOException {
    if (length < 0) return null;
    var values = new ArrayList<Object>();
    for (int i = 0; i < length; i++) values.add(read());
    return values;
  }

  private String line() throws IOException {
    if (at + 4 <= end && bytes[at] == 'O' && bytes[at + 1] == 'K' && bytes[at + 2] == '\r') {
      at += 4;
      return "OK"; // nearly every reply
    }
    var line = new StringBuilder();
    for (byte b; (b = next()) != '\n'; ) {
      if (b != '\r') line.append((char) (b & 0xff));
      if (line.length() > LONGEST_LINE) throw new IOException("no line of a reply is that long");
    }
    var text = line.toString();
    return new String(text.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
  }

  private byte next() throws IOException {
    if (at == end) fill();
    return bytes[at++];
  }

  private void fill() throws IOException {
    while (true) {
      try {
        int read = in.read(bytes);
        if (read < 0) throw new EOFException("Redis closed the connection");
        at = 0;
        end = read;
        if (read > 0) return;
      } catch (SocketTimeoutException nothing) {
        silence.check();
      }
    }
  }
}
