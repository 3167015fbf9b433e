package headrace.contract;

import java.nio.charset.StandardCharsets;

/**
 * Reads JSON (RFC 8259) token by token from bytes that are UTF-8. No recursion, no exception: a method returns false
 * where the bytes are malformed, and `at` is about where.
 */
class JsonCursor {
  static final int MAX_DEPTH = 500; // as udfs/contract.py
  private static final byte[] ESCAPES = new byte[128];
  private static final double[] POWERS = new double[23]; // those that float64 holds exactly
  private static final long EXACT = 1L << 53;

  static {
    for (int i = 0; i < 8; i++) ESCAPES["\"\\/bfnrt".charAt(i)] = (byte) "\"\\/\b\f\n\r\t".charAt(i);
    for (int i = 0; i < 23; i++) POWERS[i] = Double.parseDouble("1e" + i);
  }

  protected byte[] bytes;
  protected int at;
  protected int end;
  protected boolean tooDeep;

  /** The string that was read last, unescaped. It stays as it is until the next record. */
  protected byte[] text;
  protected int textStart;
  protected int textLength;

  /** The number that was read last: written with a point or an exponent, or a whole number of up to 18 digits. */
  protected boolean isReal;
  protected boolean isShort;
  protected long whole;
  private int numberStart;
  private int exponent;

  private byte[] unescaped; // of all strings of this record that hold an escape
  private int unescapedLength;
  private final long[] objects = new long[MAX_DEPTH / 64 + 1]; // of what encloses: bit set, an object

  protected final void begin(byte[] value) {
    bytes = value;
    at = 0;
    end = value.length;
    unescaped = null;
    unescapedLength = 0;
    tooDeep = false;
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

  protected static boolean startsNumber(int c) {
    return c == '-' || isDigit(c);
  }

  private static boolean isDigit(int c) {
    return c >= '0' && c <= '9';
  }

  protected final boolean word(String word) {
    for (int i = 0; i < word.length(); i++) if (!take(word.charAt(i))) return false;
    return true;
  }

  protected final boolean string() {
    if (!take('"')) return false;
    byte[] b = bytes;
    int start = at;
    int i = start;
    while (i < end && b[i] != '"' && b[i] != '\\' && (b[i] >= ' ' || b[i] < 0)) i++;
    at = i;
    if (i < end && b[i] == '\\') return escaped(start);
    text = b;
    textStart = start;
    textLength = i - start;
    return take('"');
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
      while (at < end && bytes[at] != '"' && bytes[at] != '\\' && (bytes[at] >= ' ' || bytes[at] < 0)) at++;
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

  protected final boolean number() {
    numberStart = at;
    boolean negative = take('-');
    int first = at;
    long digits = digits(0);
    int count = at - first;
    if (count == 0 || (count > 1 && bytes[first] == '0')) return false;
    isReal = false;
    exponent = 0;
    if (take('.')) {
      int fraction = at;
      digits = digits(digits);
      exponent = fraction - at;
      count -= exponent;
      isReal = true;
      if (at == fraction) return false;
    }
    isShort = count <= 18;
    whole = negative ? -digits : digits;
    return (peek() | 0x20) != 'e' || power();
  }

  private long digits(long before) {
    while (at < end && isDigit(bytes[at])) before = before * 10 + bytes[at++] - '0';
    return before;
  }

  private boolean power() {
    at++;
    isReal = true;
    boolean negative = peek() == '-';
    if (peek() == '-' || peek() == '+') at++;
    int first = at;
    long power = digits(0);
    if (at - first > 3) isShort = false; // the slow way knows what to do
    else exponent += (int) (negative ? -power : power);
    return at > first;
  }

  /** The number that was read last as the nearest float64; infinite where it is beyond. */
  protected final double real() {
    if (isShort && !isReal) return whole;
    boolean isExact = isShort && whole <= EXACT && whole >= -EXACT && whole != 0;
    if (isExact && exponent <= 0 && exponent >= -22) return whole / POWERS[-exponent];
    if (isExact && exponent > 0 && exponent <= 22) return whole * POWERS[exponent];
    return Double.parseDouble(new String(bytes, numberStart, at - numberStart, StandardCharsets.ISO_8859_1));
  }

  protected final boolean isNegative() {
    return bytes[numberStart] == '-';
  }

  /** Whether the whole number that was read last is one of 64 bits; `whole` then holds it. */
  protected final boolean isLong() {
    if (isShort) return true;
    int count = at - numberStart - (isNegative() ? 1 : 0);
    return count == 19 && (whole == Long.MIN_VALUE ? isNegative() : whole < 0 == isNegative());
  }

  protected final boolean isBeyond() {
    return Double.isInfinite(real());
  }

  /** Any value, within `depth` others. */
  protected final boolean skip(int depth) {
    int outside = depth;
    while (true) {
      int c = peek();
      if (c == '{' || c == '[') {
        if (!open(++depth, c == '{')) return false;
        if (take(c == '{' ? '}' : ']')) depth--;
        else if (c == '{' && !key()) return false;
        else continue;
      } else if (!scalar(c)) return false;
      while (depth > outside) {
        space();
        boolean isObject = (objects[depth >> 6] & 1L << depth) != 0;
        if (take(isObject ? '}' : ']')) {
          depth--;
          continue;
        }
        if (!take(',')) return false;
        space();
        if (isObject && !key()) return false;
        break;
      }
      if (depth == outside) return true;
    }
  }

  private boolean open(int depth, boolean isObject) {
    tooDeep = depth > MAX_DEPTH;
    if (tooDeep) return false;
    if (isObject) objects[depth >> 6] |= 1L << depth;
    else objects[depth >> 6] &= ~(1L << depth);
    at++;
    space();
    return true;
  }

  protected final boolean scalar(int c) {
    if (c == '"') return string();
    if (startsNumber(c)) return number();
    return word(c == 't' ? "true" : c == 'f' ? "false" : "null");
  }

  /** A key with its colon; leaves the cursor at the value. */
  protected final boolean key() {
    if (!string()) return false;
    space();
    if (!take(':')) return false;
    space();
    return true;
  }
}
