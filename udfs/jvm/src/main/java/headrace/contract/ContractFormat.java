package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.table.types.utils.DataTypeUtils;

/** Checks a table's columns against the schema when the job is planned. */
final class ContractFormat implements DecodingFormat<DeserializationSchema<RowData>> {
  private final ContractSchema schema;
  private List<ContractMetadata> metadata = List.of();

  ContractFormat(ContractSchema schema) {
    this.schema = schema;
  }

  @Override
  public DeserializationSchema<RowData> createRuntimeDecoder(DynamicTableSource.Context context, DataType physical) {
    List<DataTypes.Field> columns = DataType.getFields(physical).stream().toList();
    int[] fields = columns.stream().mapToInt(column -> find(column.getName())).toArray();
    var coded = new boolean[fields.length];
    for (int i = 0; i < fields.length; i++) {
      coded[i] = isCoded(schema.fields[fields[i]], columns.get(i).getDataType().getLogicalType());
    }
    List<DataTypes.Field> more = metadata.stream().map(each -> DataTypes.FIELD(each.key, each.type)).toList();
    DataType produced = DataTypeUtils.appendRowFields(physical, more);
    return new ContractDecoder(schema, fields, coded, metadata, context.createTypeInformation(produced));
  }

  private int find(String column) {
    int f = schema.find(column);
    if (f >= 0) return f;
    throw new ValidationException("column '" + column + "' must be a field of the contract's schema: " + schema.names());
  }

  /** Whether the column is an enum's place or an array's bytes. Refuses a type that its field cannot have. */
  private static boolean isCoded(ContractField field, LogicalType type) {
    String expected = expected(field);
    boolean isCoded = type.is(field.kind == Kind.ENUM ? LogicalTypeRoot.TINYINT : LogicalTypeRoot.VARBINARY);
    if (!fits(field, type)) throw wrong(field, expected, type);
    if (!type.isNullable()) throw wrong(field, "nullable, for a refused record has NULL", type);
    return isCoded;
  }

  private static ValidationException wrong(ContractField field, String rule, LogicalType type) {
    return new ValidationException("column '" + field.name + "' must be " + rule + ", got " + type.asSummaryString());
  }

  private static String expected(ContractField field) {
    return switch (field.kind) {
      case ENUM -> "STRING, or TINYINT for a symbol's place";
      case ARRAY -> "ARRAY<" + sql(field.items) + ">" + (packs(field) ? ", or BYTES for packed float64" : "");
      case MAP -> "MAP<STRING, " + sql(field.items) + ">";
      default -> sql(field.kind);
    };
  }

  private static String sql(Kind kind) {
    return kind == Kind.LONG ? "BIGINT" : kind.name();
  }

  private static boolean fits(ContractField field, LogicalType type) {
    return switch (field.kind) {
      case ENUM -> fits(Kind.STRING, type) || type.is(LogicalTypeRoot.TINYINT);
      case ARRAY -> packs(field) && isBytes(type) || isArray(field.items, type);
      case MAP -> type instanceof MapType map && fits(field, map);
      default -> fits(field.kind, type);
    };
  }

  private static boolean packs(ContractField field) {
    return field.items == Kind.DOUBLE;
  }

  private static boolean fits(ContractField field, MapType type) {
    return fits(Kind.STRING, type.getKeyType()) && fits(field.items, type.getValueType());
  }

  private static boolean isArray(Kind items, LogicalType type) {
    return type instanceof ArrayType array && fits(items, array.getElementType());
  }

  private static boolean isBytes(LogicalType type) {
    return type instanceof VarBinaryType bytes && bytes.getLength() == VarBinaryType.MAX_LENGTH;
  }

  private static boolean fits(Kind kind, LogicalType type) {
    return switch (kind) {
      case STRING -> type instanceof VarCharType text && text.getLength() == VarCharType.MAX_LENGTH;
      case LONG -> type.is(LogicalTypeRoot.BIGINT);
      case DOUBLE -> type.is(LogicalTypeRoot.DOUBLE);
      default -> type.is(LogicalTypeRoot.BOOLEAN);
    };
  }

  @Override
  public Map<String, DataType> listReadableMetadata() {
    var types = new LinkedHashMap<String, DataType>();
    for (ContractMetadata each : ContractMetadata.values()) types.put(each.key, each.type);
    return types;
  }

  @Override
  public void applyReadableMetadata(List<String> keys) {
    metadata = keys.stream().map(key -> ContractMetadata.valueOf(key.toUpperCase(Locale.ROOT))).toList();
  }

  @Override
  public ChangelogMode getChangelogMode() {
    return ChangelogMode.insertOnly();
  }
}
