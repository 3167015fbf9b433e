package headrace.redis;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** What one command writes: a key of Redis with its prefix, or a field of one. */
final class Key {
  private static final int SHOWN = 200;
  final byte[] name;
  private final byte[] field; // null: the whole key
  private final int hash;

  Key(byte[] name, byte[] field) {
    this.name = name;
    this.field = field;
    hash = 31 * Arrays.hashCode(name) + Arrays.hashCode(field);
  }

  @Override
  public int hashCode() {
    return hash;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Key key && hash == key.hash && Arrays.equals(name, key.name)
        && Arrays.equals(field, key.field);
  }

  @Override
  public String toString() {
    return shown(name) + (field == null ? "" : ", field " + shown(field));
  }

  private static String shown(byte[] bytes) {
    var text = new String(bytes, 0, Math.min(bytes.length, SHOWN), StandardCharsets.UTF_8);
    return text.replaceAll("\\p{Cntrl}", "?") + (bytes.length > SHOWN ? "..." : "");
  }
}
