package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.util.Arrays;

/**
 * Judges a record in one pass over its bytes, by the rules of udfs/contract.py: verdicts and reasons are equal.
 *
 * <p>One object serves all records of a task. What it holds is of the last one: `state` by field, and of a GOOD field
 * its value in `longs` (also the place of an enum's symbol, and 1 for true), `doubles`, `texts`, or `values` (double[],
 * long[], boolean[] or StringData[] of an array, a map with StringData as keys).
 */
final class RecordScanner extends CollectionCursor {
  static final int MAX_BYTES = 1 << 20;

  final ContractSchema schema;
  final byte[] state;
  final long[] longs;
  final double[] doubles;
  final byte[][] texts;
  final int[] starts;
  final int[] lengths;
  final Object[] values;

  /** Of a field's value in the record. */
  final int[] from;
  final int[] to;

  /** Of an array or a map: the item at fault, counted from 0, or -1; the first byte of it. */
  final int[] itemAt;
  final byte[] itemFirst;

  /** Why the record is refused, or null. */
  String reason;
  String detail;

  private final ContractField[] fields;
  private final int[] after; // the field that followed this one in the last record
  private boolean isAscii;

  RecordScanner(ContractSchema schema) {
    this.schema = schema;
    fields = schema.fields;
    int n = fields.length;
    state = new byte[n];
    longs = new long[n];
    doubles = new double[n];
    texts = new byte[n][];
    starts = new int[n];
    lengths = new int[n];
    values = new Object[n];
    from = new int[n];
    to = new int[n];
    itemAt = new int[n];
    itemFirst = new byte[n];
    after = new int[n + 1];
  }

  /** True if the record keeps the contract. */
  boolean scan(byte[] value) {
    reason = detail = null;
    if (value == null) return refuse("json", "the record has no value");
    if (value.length > MAX_BYTES) return refuse("size", Words.tooLarge(value));
    int ascii = Utf8.ascii(value);
    isAscii = ascii == value.length;
    begin(value);
    tooDeep = false;
    if (!isAscii && (at = Utf8.fault(value, ascii)) >= 0) return refuse("json", Words.notUtf8(value, at));
    at = 0;
    Arrays.fill(state, ABSENT);
    space();
    int start = at;
    boolean isRecord = take('{');
    boolean whole = isRecord ? record() : skip(0);
    int stop = at;
    if (whole) space();
    if (!whole || at < end) return refuse("json", Words.malformed(value, at, tooDeep));
    return isRecord ? judge() : refuse("type", Words.noRecord(value, start, stop));
  }

  private boolean refuse(String why, String words) {
    reason = why;
    detail = words;
    return false;
  }

  private boolean judge() {
    for (int f = 0; f < fields.length; f++) {
      byte each = state[f];
      if (each == GOOD || (each <= NULL && fields[f].optional)) continue;
      return refuse(Words.reason(each), Words.detail(this, f));
    }
    return true;
  }

  private boolean record() {
    space();
    if (take('}')) return true;
    int previous = fields.length;
    while (true) {
      if (!key()) return false;
      int f = after[previous];
      if (!schema.is(f, text, textStart, textLength)) f = schema.find(text, textStart, textLength);
      if (f >= 0) {
        after[previous] = f;
        previous = f;
        from[f] = at;
        if (!field(f)) return false;
        to[f] = at;
      } else if (!skip(1)) return false;
      space();
      if (take('}')) return true;
      if (!take(',')) return false;
      space();
    }
  }

  private boolean field(int f) {
    ContractField field = fields[f];
    int c = peek();
    itemAt[f] = -1;
    if (c == 'n') {
      state[f] = field.optional ? NULL : TYPE;
      return word("null");
    }
    switch (field.kind) {
      case STRING, ENUM:
        if (c != '"') return other(f, c);
        if (!string()) return false;
        state[f] = field.kind == Kind.STRING ? keep(f, field) : symbol(f, field);
        return true;
      case LONG, DOUBLE:
        if (!startsNumber(c)) return other(f, c);
        if (!number()) return false;
        state[f] = field.kind == Kind.LONG ? integer(f, field) : real(f, field);
        return true;
      case BOOLEAN:
        if (c != 't' && c != 'f') return other(f, c);
        longs[f] = c == 't' ? 1 : 0;
        state[f] = GOOD;
        return word(c == 't' ? "true" : "false");
      case ARRAY:
        return c == '[' ? keepItems(f, array(field.items, field.longest)) : other(f, c);
      default:
        return c == '{' ? keepItems(f, map(field.items)) : other(f, c);
    }
  }

  private boolean keepItems(int f, byte found) {
    state[f] = found;
    values[f] = collection;
    itemAt[f] = faultAt;
    itemFirst[f] = faultFirst;
    return found != MALFORMED;
  }

  /** A value of another type. */
  private boolean other(int f, int c) {
    boolean whole = skip(1);
    state[f] = startsNumber(c) && whole && isBeyond() ? BEYOND : TYPE;
    return whole;
  }

  private byte keep(int f, ContractField field) {
    texts[f] = text;
    starts[f] = textStart;
    lengths[f] = textLength;
    if (textLength <= field.longest && field.shortest <= textLength >> 2) return GOOD; // whatever the characters
    int length = isAscii && text == bytes ? textLength : Utf8.codePoints(text, textStart, textLength);
    return length < field.shortest ? SHORT : length > field.longest ? LONG : GOOD;
  }

  private byte symbol(int f, ContractField field) {
    longs[f] = field.symbol(text, textStart, textLength);
    return longs[f] < 0 ? SYMBOL : GOOD;
  }

  private byte integer(int f, ContractField field) {
    if (!isReal) return isLong() ? bounded(f, field, whole) : isNegative() ? LOW : HIGH;
    double number = real();
    if (Double.isInfinite(number)) return BEYOND;
    if (number != Math.rint(number)) return TYPE;
    if (number >= 0x1p63) return HIGH;
    return number < -0x1p63 ? LOW : bounded(f, field, (long) number);
  }

  private byte bounded(int f, ContractField field, long number) {
    longs[f] = number;
    return number < field.least ? LOW : number > field.most ? HIGH : GOOD;
  }

  private byte real(int f, ContractField field) {
    double number = real();
    doubles[f] = number;
    if (Double.isInfinite(number)) return BEYOND;
    if (number < field.low || (field.lowIsOutside && number == field.low)) return LOW;
    return number > field.high ? HIGH : GOOD;
  }
}
