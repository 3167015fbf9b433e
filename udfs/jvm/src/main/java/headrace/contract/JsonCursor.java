package headrace.contract;

import java.nio.charset.StandardCharsets;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.io.NumberInput;

/**
 * Reads JSON (RFC 8259) token by token. No recursion, no exception: a method returns false where the bytes are
 * malformed, or nested more than MAX_DEPTH deep.
 */
class JsonCursor extends StringCursor {
  static final int MAX_DEPTH = 500; // as udfs/contract.py
  private static final double[] POWERS = new double[23]; // those that float64 holds exactly
  private static final long EXACT = 1L << 53;

  static {
    for (int i = 0; i < 23; i++) POWERS[i] = Double.parseDouble("1e" + i);
  }

  protected boolean tooDeep;

  /** The number that was read last: whether it has a point or an exponent, and whether it has up to 18 digits. */
  protected boolean isReal;
  protected boolean isShort;
  protected long whole; // without its exponent
  private int numberStart;
  private int exponent;
  private final long[] objects = new long[MAX_DEPTH / 64 + 1]; // of what encloses: bit set, an object

  protected static boolean startsNumber(int c) {
    return c == '-' || isDigit(c);
  }

  private static boolean isDigit(int c) {
    return c >= '0' && c <= '9';
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
    return NumberInput.parseDouble(new String(bytes, numberStart, at - numberStart, StandardCharsets.ISO_8859_1), true);
  }

  protected final boolean isNegative() {
    return bytes[numberStart] == '-';
  }

  /** Whether the whole number that was read last is one of 64 bits; `whole` then holds it. */
  protected final boolean isLong() {
    if (isShort) return true;
    int count = at - numberStart - (isNegative() ? 1 : 0);
    return count == 19 && whole < 0 == isNegative();
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
