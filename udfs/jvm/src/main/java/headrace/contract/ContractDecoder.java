package headrace.contract;

import static headrace.contract.ContractField.Kind;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** Bytes to a row: the columns, then the metadata that is read. A refused record is a row too; no record throws. */
final class ContractDecoder implements DeserializationSchema<RowData> {
  private static final long serialVersionUID = 1;

  private final ContractSchema schema;
  private final int[] fields; // of each column
  private final boolean[] coded; // of each column: an enum's place, an array's bytes
  private final ContractMetadata[] metadata;
  private final TypeInformation<RowData> produced;
  private transient RecordScanner scanner;
  private transient Counter refused;

  ContractDecoder(
      ContractSchema schema,
      int[] fields,
      boolean[] coded,
      List<ContractMetadata> metadata,
      TypeInformation<RowData> produced) {
    this.schema = schema;
    this.fields = fields;
    this.coded = coded;
    this.metadata = metadata.toArray(new ContractMetadata[0]);
    this.produced = produced;
  }

  @Override
  public void open(InitializationContext context) {
    refused = context.getMetricGroup().counter("refused");
  }

  @Override
  public RowData deserialize(byte[] value) {
    if (scanner == null) scanner = new RecordScanner(schema);
    if (refused == null) refused = new SimpleCounter();
    boolean good = scanner.scan(value);
    var row = new GenericRowData(fields.length + metadata.length);
    if (good) for (int i = 0; i < fields.length; i++) row.setField(i, column(fields[i], coded[i]));
    else refused.inc();
    for (int i = 0; i < metadata.length; i++) row.setField(fields.length + i, metadata[i].of(scanner, value));
    return row;
  }

  private Object column(int f, boolean isCoded) {
    RecordScanner record = scanner;
    if (record.state[f] != RecordScanner.GOOD) return null;
    return switch (schema.fields[f].kind) {
      case STRING -> StringData.fromBytes(record.texts[f], record.starts[f], record.lengths[f]);
      case LONG -> record.longs[f];
      case DOUBLE -> record.doubles[f];
      case BOOLEAN -> record.longs[f] == 1;
      case ENUM -> isCoded ? (Object) (byte) record.longs[f] : symbol(f, (int) record.longs[f]);
      case ARRAY -> isCoded ? packed((double[]) record.values[f]) : array(schema.fields[f].items, record.values[f]);
      case MAP -> new GenericMapData((java.util.Map<?, ?>) record.values[f]);
    };
  }

  private StringData symbol(int f, int place) {
    return StringData.fromBytes(schema.fields[f].symbols[place]);
  }

  private static GenericArrayData array(Kind items, Object values) {
    return switch (items) {
      case DOUBLE -> new GenericArrayData((double[]) values);
      case LONG -> new GenericArrayData((long[]) values);
      case BOOLEAN -> new GenericArrayData((boolean[]) values);
      default -> new GenericArrayData((Object[]) values);
    };
  }

  private static byte[] packed(double[] values) {
    var bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asDoubleBuffer().put(values);
    return bytes.array();
  }

  @Override
  public boolean isEndOfStream(RowData next) {
    return false;
  }

  @Override
  public TypeInformation<RowData> getProducedType() {
    return produced;
  }
}
