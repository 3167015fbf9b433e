package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/** The text of an .avsc of the kind in schemas/, checked and compiled. The errors are IllegalArgumentException. */
final class ContractSchema implements Serializable {
  private static final long serialVersionUID = 1;
  private static final Map<String, Kind> SCALARS =
      Map.of("string", Kind.STRING, "long", Kind.LONG, "double", Kind.DOUBLE, "boolean", Kind.BOOLEAN);
  private static final String TYPES = "string, long, double, boolean, an enum, or an array or map of the first four";
  private static final Map<String, List<Kind>> LIMITS =
      Map.of(
          "minimum", List.of(Kind.LONG, Kind.DOUBLE),
          "maximum", List.of(Kind.LONG, Kind.DOUBLE),
          "exclusiveMinimum", List.of(Kind.LONG, Kind.DOUBLE),
          "minLength", List.of(Kind.STRING),
          "maxLength", List.of(Kind.STRING),
          "maxItems", List.of(Kind.ARRAY));
  private static final List<String> OTHER_LIMITS =
      List.of("exclusiveMaximum", "multipleOf", "pattern", "minItems", "uniqueItems", "minProperties", "maxProperties");

  final ContractField[] fields;
  private final int[][] byLength; // the fields whose name has so many bytes

  private ContractSchema(List<ContractField> fields) {
    this.fields = fields.toArray(new ContractField[0]);
    int longest = fields.stream().mapToInt(field -> field.key.length).max().orElse(0);
    byLength = new int[longest + 1][0];
    for (int f = 0; f < this.fields.length; f++) {
      int length = this.fields[f].key.length;
      byLength[length] = Arrays.copyOf(byLength[length], byLength[length].length + 1);
      byLength[length][byLength[length].length - 1] = f;
    }
  }

  /** The place of a field, or -1. */
  int find(byte[] text, int start, int length) {
    if (length >= byLength.length) return -1;
    for (int f : byLength[length]) if (is(f, text, start, length)) return f;
    return -1;
  }

  boolean is(int f, byte[] text, int start, int length) {
    byte[] key = fields[f].key;
    return key.length == length && Arrays.equals(text, start, start + length, key, 0, length);
  }

  int find(String name) {
    byte[] key = name.getBytes(StandardCharsets.UTF_8);
    return find(key, 0, key.length);
  }

  List<String> names() {
    return Arrays.stream(fields).map(field -> field.name).toList();
  }

  static ContractSchema parse(String text) {
    JsonNode schema;
    try {
      schema = new ObjectMapper().readTree(text);
    } catch (JsonProcessingException error) {
      throw new IllegalArgumentException("must be the text of an .avsc, which is JSON, got '" + cut(text) + "'");
    }
    if ( !schema.path("type").asText().equals("record") || !schema.path("fields").isArray()) {
      throw new IllegalArgumentException("must be a record with fields, got '" + cut(text) + "'");
    }
    var fields = new ArrayList<ContractField>();
    for (JsonNode field : schema.path("fields")) fields.add(field(field));
    var result = new ContractSchema(fields);
    if (fields.isEmpty()) throw new IllegalArgumentException("must have at least one field, got '" + cut(text) + "'");
    for (String name : result.names()) {
      if (fields.stream().filter(field -> field.name.equals(name)).count() > 1) {
        throw new IllegalArgumentException("must have each field once, got '" + name + "' again");
      }
    }
    return result;
  }

  private static String cut(String text) {
    return text.length() <= 80 ? text : text.substring(0, 80) + "...";
  }

  private static ContractField field(JsonNode json) {
    if (!json.path("name").isTextual()) {
      throw new IllegalArgumentException("each field must have a name, got " + cut(json.toString()));
    }
    String name = json.path("name").asText();
    JsonNode type = json.path("type");
    boolean optional = type.isArray();
    if (optional && (type.size() != 2 || !type.get(0).asText().equals("null"))) {
      throw wrong(name, "a union must be of null and one type", type);
    }
    if (optional) type = type.get(1);
    var field = new ContractField(name, kind(name, type), items(name, type), optional);
    if (field.kind == Kind.ENUM) field.symbols = symbols(name, type.path("symbols"));
    if (json.has("minimum") && json.has("exclusiveMinimum")) {
      throw wrong(name, "minimum and exclusiveMinimum must not both be there", json.get("minimum"));
    }
    json.fieldNames().forEachRemaining(key -> limit(field, key, json.get(key)));
    return field;
  }

  private static String kinds(String limit) {
    return LIMITS.get(limit).stream().map(Kind::name).collect(Collectors.joining(" or "));
  }

  private static IllegalArgumentException wrong(String field, String rule, JsonNode got) {
    return new IllegalArgumentException("field '" + field + "': " + rule + ", got " + cut(got.toString()));
  }

  private static Kind kind(String name, JsonNode type) {
    String word = type.isObject() ? type.path("type").asText() : "";
    if (word.equals("array")) return Kind.ARRAY;
    if (word.equals("map")) return Kind.MAP;
    if (word.equals("enum")) return Kind.ENUM;
    return scalar(name, type);
  }

  private static Kind items(String name, JsonNode type) {
    if (!type.isObject() || type.has("symbols")) return null;
    return scalar(name, type.has("items") ? type.get("items") : type.path("values"));
  }

  private static Kind scalar(String name, JsonNode type) {
    Kind kind = SCALARS.get(type.asText());
    if (kind == null) throw wrong(name, "the type must be " + TYPES, type);
    return kind;
  }

  private static byte[][] symbols(String name, JsonNode symbols) {
    boolean fit = !symbols.isEmpty() && symbols.size() <= Byte.MAX_VALUE;
    if (!fit) throw wrong(name, "an enum must have 1 to 127 symbols", symbols);
    var result = new byte[symbols.size()][];
    for (int i = 0; i < result.length; i++) result[i] = symbols.get(i).asText().getBytes(StandardCharsets.UTF_8);
    return result;
  }

  private static void limit(ContractField field, String key, JsonNode value) {
    String name = field.name;
    if (OTHER_LIMITS.contains(key)) throw wrong(name, key + " is no limit that the format knows", value);
    if (!LIMITS.containsKey(key)) return;
    if (!LIMITS.get(key).contains(field.kind)) throw wrong(name, key + " must be of a field of " + kinds(key), value);
    boolean isWhole = value.isIntegralNumber() && value.canConvertToLong();
    if (field.kind == Kind.DOUBLE && !value.isNumber()) throw wrong(name, key + " must be a number", value);
    if (field.kind != Kind.DOUBLE && !isWhole) throw wrong(name, key + " must be a whole number", value);
    if (field.kind == Kind.DOUBLE) real(field, key, value.doubleValue());
    else if (field.kind == Kind.LONG) whole(field, key, value.longValue());
    else length(field, key, value);
  }

  private static void real(ContractField field, String key, double limit) {
    if (key.equals("maximum")) {
      field.high = limit;
    } else {
      field.low = limit;
      field.lowIsOutside = key.equals("exclusiveMinimum");
    }
  }

  private static void whole(ContractField field, String key, long limit) {
    if (key.equals("maximum")) field.most = limit;
    else field.least = key.equals("minimum") ? limit : limit + 1;
  }

  private static void length(ContractField field, String key, JsonNode limit) {
    boolean fits = limit.canConvertToInt() && limit.intValue() >= 0;
    if (!fits) throw wrong(field.name, key + " must be 0 to 2147483647", limit);
    if (key.equals("minLength")) field.shortest = limit.intValue();
    else field.longest = limit.intValue();
  }
}
