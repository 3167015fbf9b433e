package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;

/** The words of a refusal: field, rule, value, as udfs/field_rules.py has them. They cost little for any value. */
final class Words {
  private static final int SHOWN = 80; // characters of a refused value
  private static final String SECONDS = ", which looks like seconds and should be milliseconds";

  private static final String BEYOND = "must be within float64";

  private Words() {}

  static String reason(byte found) {
    return switch (found) {
      case RecordScanner.ABSENT -> "missing";
      case RecordScanner.NULL, RecordScanner.TYPE -> "type";
      case RecordScanner.BEYOND -> "json";
      default -> "value";
    };
  }

  static String detail(RecordScanner record, int f) {
    ContractField field = record.schema.fields[f];
    byte found = record.state[f];
    if (found == RecordScanner.ABSENT) return field.name + ": required, absent";
    if (record.itemAt[f] >= 0) return item(record, f);
    String got = ", got " + show(record.bytes, record.from[f], record.to[f]);
    if (found == RecordScanner.SYMBOL) return field.name + ": Invalid enum value" + got.substring(5);
    String rule = found == RecordScanner.TYPE ? "Expected `" + type(field) + "`" : limit(field, found);
    return field.name + ": " + rule + got + (isSeconds(record, f) ? SECONDS : "");
  }

  private static boolean isSeconds(RecordScanner record, int f) {
    ContractField field = record.schema.fields[f];
    boolean isLow = record.state[f] == RecordScanner.LOW && record.bytes[record.from[f]] != '-';
    return isLow && field.kind == Kind.LONG && field.name.endsWith("_ms");
  }

  private static String type(ContractField field) {
    return field.kind.word + (field.optional ? " | null" : "");
  }

  private static String limit(ContractField field, byte found) {
    if (found == RecordScanner.BEYOND) return BEYOND;
    return "Expected `" + field.kind.word + "` " + bound(field, found);
  }

  private static String bound(ContractField field, byte found) {
    boolean isLong = field.kind == Kind.LONG;
    return switch (found) {
      case RecordScanner.SHORT -> "of length >= " + field.shortest;
      case RecordScanner.LONG -> "of length <= " + field.longest;
      case RecordScanner.LOW -> isLong ? ">= " + field.least : (field.lowIsOutside ? "> " : ">= ") + real(field.low);
      default -> "<= " + (isLong ? field.most : real(field.high));
    };
  }

  private static String item(RecordScanner record, int f) {
    ContractField field = record.schema.fields[f];
    String place = field.kind == Kind.MAP ? "..." : "" + record.itemAt[f];
    String rule =
        switch (record.state[f]) {
          case RecordScanner.TYPE -> "Expected `" + field.items.word + "`, got " + type(record.itemFirst[f]);
          case RecordScanner.BEYOND -> BEYOND;
          default -> "Expected `int` of 64 bits";
        };
    return field.name + "[" + place + "]: " + rule;
  }

  private static String type(byte first) {
    return switch (first) {
      case '{' -> "an object";
      case '[' -> "an array";
      case '"' -> "a string";
      case 't', 'f' -> "a boolean";
      case 'n' -> "null";
      default -> "a number";
    };
  }

  /** Shows the JSON text of a value; of a container only its type and size. */
  private static String show(byte[] bytes, int from, int to) {
    return switch (bytes[from]) {
      case '{' -> "an object of " + (to - from) + " bytes";
      case '[' -> "an array of " + (to - from) + " bytes";
      case 'n' -> "None";
      case 't' -> "True";
      case 'f' -> "False";
      default -> text(bytes, from, to);
    };
  }

  private static String text(byte[] bytes, int from, int to) {
    int length = Utf8.codePoints(bytes, from, to - from);
    int shown = Utf8.prefix(bytes, from, to - from, SHOWN);
    String text = new String(bytes, from, shown, StandardCharsets.UTF_8);
    if (bytes[from] == '"') text = "'" + text.substring(1);
    if (bytes[from] == '"' && shown == to - from) text = text.substring(0, text.length() - 1) + "'";
    return length <= SHOWN ? text : text + "... (" + length + " characters)";
  }

  static String tooLarge(byte[] bytes) {
    return "the record: must be <= " + RecordScanner.MAX_BYTES + " bytes, got " + bytes.length;
  }

  static String noRecord(byte[] bytes, int from, int to) {
    return "the record: Expected `object`, got " + show(bytes, from, to);
  }

  static String malformed(byte[] bytes, int at, boolean tooDeep) {
    String what = at < bytes.length ? "malformed" : "truncated";
    if (tooDeep) what = "nested more than " + JsonCursor.MAX_DEPTH + " deep";
    return "JSON is " + what + " (byte " + at + "), got " + bytesShown(bytes);
  }

  static String notUtf8(byte[] bytes, int at) {
    return "not UTF-8 (byte " + at + "), got " + bytesShown(bytes);
  }

  /** The first bytes, as Python shows bytes. */
  private static String bytesShown(byte[] bytes) {
    var text = new StringBuilder("b'");
    for (int i = 0; i < Math.min(SHOWN, bytes.length); i++) {
      if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '\\' && bytes[i] != '\'') text.append((char) bytes[i]);
      else text.append(String.format("\\x%02x", bytes[i]));
    }
    text.append('\'');
    return bytes.length <= SHOWN ? text.toString() : text + "... (" + bytes.length + " bytes)";
  }

  /** A bound as Python writes it: 10.0, 1000000000.0, 1e-07, 1e+22. */
  static String real(double bound) {
    double size = Math.abs(bound);
    var decimal = new BigDecimal(Double.toString(bound));
    if (size == 0 || (size >= 1e-4 && size < 1e16)) {
      String plain = decimal.stripTrailingZeros().toPlainString();
      return plain.contains(".") ? plain : plain + ".0";
    }
    String digits = decimal.stripTrailingZeros().unscaledValue().toString();
    int first = digits.startsWith("-") ? 2 : 1;
    int power = decimal.stripTrailingZeros().precision() - decimal.stripTrailingZeros().scale() - 1;
    String fraction = digits.length() > first ? "." + digits.substring(first) : "";
    return digits.substring(0, first) + fraction + String.format("e%s%02d", power < 0 ? "-" : "+", Math.abs(power));
  }
}
