package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.table.data.StringData;

/** Reads arrays and maps of scalars. Each item is judged, and the first one at fault is remembered. */
class CollectionCursor extends JsonCursor {
  /** What became of a value. Each after GOOD is a fault. */
  static final byte MALFORMED = -1, ABSENT = 0, NULL = 1, GOOD = 2;

  static final byte TYPE = 3, BEYOND = 4, SHORT = 5, LONG = 6, LOW = 7, HIGH = 8, SYMBOL = 9;

  /** Of the last array or map: double[], long[], boolean[] or StringData[], or a map with StringData as keys. */
  protected Object collection;

  protected int faultAt; // counted from 0, or -1
  protected byte faultFirst; // the first byte of the item at fault

  private double[] doubles = new double[16];
  private long[] longs = new long[16];
  private StringData[] strings = new StringData[16];

  protected final byte array(Kind kind, int longest) {
    byte found = GOOD;
    int count = 0;
    faultAt = -1;
    at++;
    space();
    for (boolean more = !take(']'); more; count++) {
      byte each = item(kind, Math.min(count, longest)); // what is too long is judged, but not kept
      if (each == MALFORMED) return MALFORMED;
      if (each != GOOD && found == GOOD) found = fault(each, count);
      space();
      more = !take(']');
      if (more && !take(',')) return MALFORMED;
      if (more) space();
    }
    if (found == GOOD && count > longest) found = LONG;
    collection = found == GOOD ? kept(kind, count) : null;
    return found;
  }

  protected final byte map(Kind kind) {
    byte found = GOOD;
    faultAt = -1;
    at++;
    space();
    Map<StringData, Object> map = new LinkedHashMap<>();
    for (boolean more = !take('}'); more; ) {
      if (!key()) return MALFORMED;
      StringData key = StringData.fromBytes(text, textStart, textLength);
      byte each = item(kind, 0);
      if (each == MALFORMED) return MALFORMED;
      if (each != GOOD && found == GOOD) found = fault(each, 0);
      if (found == GOOD) map.put(key, kept(kind));
      space();
      more = !take('}');
      if (more && !take(',')) return MALFORMED;
      if (more) space();
    }
    collection = found == GOOD ? map : null;
    return found;
  }

  private byte first; // of the item that was read last

  private byte fault(byte found, int place) {
    faultAt = place;
    faultFirst = first;
    return found;
  }

  private byte item(Kind kind, int place) {
    int c = peek();
    first = (byte) c;
    if (c == '{' || c == '[') return skip(2) ? TYPE : MALFORMED;
    if (!scalar(c)) return MALFORMED;
    if (startsNumber(c)) return number(kind, place);
    if (kind == Kind.STRING && c == '"') {
      if (place == strings.length) strings = Arrays.copyOf(strings, 2 * place);
      strings[place] = StringData.fromBytes(text, textStart, textLength);
      return GOOD;
    }
    if (kind != Kind.BOOLEAN || (c != 't' && c != 'f')) return TYPE;
    return keep(c == 't' ? 1 : 0, place);
  }

  private byte number(Kind kind, int place) {
    if (kind == Kind.DOUBLE) {
      if (place == doubles.length) doubles = Arrays.copyOf(doubles, 2 * place);
      doubles[place] = real();
      return Double.isInfinite(doubles[place]) ? BEYOND : GOOD;
    }
    if (kind != Kind.LONG || isReal) return isBeyond() ? BEYOND : TYPE;
    if (!isLong()) return isNegative() ? LOW : HIGH;
    return keep(whole, place);
  }

  private byte keep(long number, int place) {
    if (place == longs.length) longs = Arrays.copyOf(longs, 2 * place);
    longs[place] = number;
    return GOOD;
  }

  private Object kept(Kind kind, int count) {
    if (kind == Kind.DOUBLE) return Arrays.copyOf(doubles, count);
    if (kind == Kind.LONG) return Arrays.copyOf(longs, count);
    if (kind == Kind.STRING) return Arrays.copyOf(strings, count);
    var flags = new boolean[count];
    for (int i = 0; i < count; i++) flags[i] = longs[i] == 1;
    return flags;
  }

  private Object kept(Kind kind) {
    if (kind == Kind.DOUBLE) return doubles[0];
    if (kind == Kind.LONG) return longs[0];
    return kind == Kind.STRING ? strings[0] : (Object) (longs[0] == 1);
  }
}
