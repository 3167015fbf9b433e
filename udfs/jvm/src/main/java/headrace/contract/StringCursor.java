package headrace.contract;

/** Goes over bytes that are UTF-8 and reads the strings of JSON. `at` is about where they are malformed. */
class StringCursor {
  private static final byte[] ESCAPES = new byte[128];

  static {
    for (int i = 0; i < 8; i++) ESCAPES["\"\\/bfnrt".charAt(i)] = (byte) "\"\\/\b\f\n\r\t".charAt(i);
  }

  protected byte[] bytes;
  protected int at;
  protected int end;

  /** The string that was read last, unescaped. It stays as it is when the next record is read. */
  protected byte[] text;
  protected int textStart;
  protected int textLength;

  private byte[] unescaped; // all strings of this record that hold an escape
  private int unescapedLength;

  protected final void begin(byte[] value) {
    bytes = value;
    at = 0;
    end = value.length;
    unescaped = null;
    unescapedLength = 0;
  }

  /** The next byte, or -1, which is no byte of UTF-8. */
  protected final int peek() {
    return at < end ? bytes[at] : -1;
  }

  protected final boolean take(int wanted) {
    if (peek() != wanted) return false;
    at++;
    return true;
  }

  protected final void space() {
    while (at < end && bytes[at] <= ' ' && isSpace(bytes[at])) at++;
  }

  private static boolean isSpace(byte c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
  }

  protected final boolean word(String word) {
    for (int i = 0; i < word.length(); i++) if (!take(word.charAt(i))) return false;
    return true;
  }

  protected final boolean string() {
    if (!take('"')) return false;
    int start = at;
    plain();
    if (peek() == '\\') return escaped(start);
    text = bytes;
    textStart = start;
    textLength = at - start;
    return take('"');
  }

  /** Passes what stands for itself in a string. */
  private void plain() {
    byte[] b = bytes;
    int i = at;
    while (i < end && b[i] != '"' && b[i] != '\\' && (b[i] >= ' ' || b[i] < 0)) i++;
    at = i;
  }

  /** At the first backslash of a string that began at `start`. */
  private boolean escaped(int start) {
    if (unescaped == null) unescaped = new byte[end];
    text = unescaped;
    textStart = unescapedLength;
    append(start);
    while (peek() == '\\') {
      at++;
      if (!escape()) return false;
      start = at;
      plain();
      append(start);
    }
    textLength = unescapedLength - textStart;
    return take('"');
  }

  private void append(int start) {
    System.arraycopy(bytes, start, unescaped, unescapedLength, at - start);
    unescapedLength += at - start;
  }

  private boolean escape() {
    int c = peek();
    if (c < 0) return false;
    at++;
    if (c == 'u') return codePoint();
    unescaped[unescapedLength++] = ESCAPES[c];
    return ESCAPES[c] != 0;
  }

  private boolean codePoint() {
    int unit = hexadecimal();
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return false;
    if (unit < 0xd800 || unit > 0xdfff) {
      encode(unit);
      return true;
    }
    if (!take('\\') || !take('u')) return false;
    int low = hexadecimal();
    if (low < 0xdc00 || low > 0xdfff) return false;
    encode(Character.toCodePoint((char) unit, (char) low));
    return true;
  }

  private int hexadecimal() {
    int unit = 0;
    for (int i = 0; i < 4; i++) {
      int digit = Character.digit(peek(), 16);
      if (digit < 0) return -1;
      unit = unit << 4 | digit;
      at++;
    }
    return unit;
  }

  private void encode(int c) {
    if (c < 0x80) {
      unescaped[unescapedLength++] = (byte) c;
      return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    unescaped[unescapedLength++] = (byte) (0xff00 >> more + 1 | c >> 6 * more);
    while (more-- > 0) unescaped[unescapedLength++] = (byte) (0x80 | c >> 6 * more & 0x3f);
  }
}
