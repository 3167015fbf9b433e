package headrace.contract;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.Factory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ContractFormatTest {
  private static final String SCHEMA =
      """
      {"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "string", "maxLength": 4},
        {"name": "n", "type": ["null", "long"]},
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "K", "symbols": ["a", "b"]}]},
        {"name": "reals", "type": ["null", {"type": "array", "items": "double"}]},
        {"name": "texts", "type": ["null", {"type": "array", "items": "string"}]},
        {"name": "counts", "type": ["null", {"type": "map", "values": "long"}]}]}
      """;
  private static final String RECORD =
      "{\"id\":\"\\u00e9\",\"n\":7,\"flag\":true,\"kind\":\"b\",\"reals\":[1,0.5],\"texts\":[\"x\",\"\\n\"],\"counts\":{\"y\":2}}";

  private static DecodingFormat<DeserializationSchema<RowData>> format(Map<String, String> options) {
    return new ContractFormatFactory().createDecodingFormat(null, Configuration.fromMap(options));
  }

  private static DeserializationSchema<RowData> decoder(DataTypes.Field... columns) {
    var format = format(Map.of("schema", SCHEMA));
    format.applyReadableMetadata(List.of("raw", "reason", "detail"));
    return format.createRuntimeDecoder(new Context(), DataTypes.ROW(columns));
  }

  private static final class Context implements DynamicTableSource.Context {
    @Override
    public <T> TypeInformation<T> createTypeInformation(DataType type) {
      return null;
    }

    @Override
    public <T> TypeInformation<T> createTypeInformation(LogicalType type) {
      return null;
    }

    @Override
    public DynamicTableSource.DataStructureConverter createDataStructureConverter(DataType type) {
      return null;
    }
  }

  private static String error(Map<String, String> options) {
    return assertThrows(ValidationException.class, () -> format(options)).getMessage();
  }

  private static String error(String name, DataType type) {
    return assertThrows(ValidationException.class, () -> decoder(DataTypes.FIELD(name, type))).getMessage();
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void flinkFindsTheFormat() {
    assertTrue(ServiceLoader.load(Factory.class).stream().anyMatch(each -> each.type() == ContractFormatFactory.class));
  }

  @Test
  void aGoodRecordFillsItsColumns() throws Exception {
    RowData row =
        decoder(
                DataTypes.FIELD("counts", DataTypes.MAP(DataTypes.STRING(), DataTypes.BIGINT())),
                DataTypes.FIELD("id", DataTypes.STRING()),
                DataTypes.FIELD("n", DataTypes.BIGINT()),
                DataTypes.FIELD("flag", DataTypes.BOOLEAN()),
                DataTypes.FIELD("kind", DataTypes.TINYINT()),
                DataTypes.FIELD("reals", DataTypes.BYTES()),
                DataTypes.FIELD("texts", DataTypes.ARRAY(DataTypes.STRING())))
            .deserialize(bytes(RECORD));
    assertEquals(2L, row.getMap(0).valueArray().getLong(0));
    assertEquals("é", row.getString(1).toString());
    assertEquals(7, row.getLong(2));
    assertTrue(row.getBoolean(3));
    assertEquals(1, row.getByte(4));
    var packed = ByteBuffer.wrap(row.getBinary(5)).order(ByteOrder.LITTLE_ENDIAN);
    assertArrayEquals(new double[] {1, 0.5, 16}, new double[] {packed.getDouble(), packed.getDouble(), packed.capacity()});
    assertEquals("\n", row.getArray(6).getString(1).toString());
    assertArrayEquals(bytes(RECORD), row.getBinary(7));
    assertTrue(row.isNullAt(8) && row.isNullAt(9));
  }

  @Test
  void anEnumIsItsSymbolAndAnArrayIsOne() throws Exception {
    RowData row =
        decoder(DataTypes.FIELD("kind", DataTypes.STRING()), DataTypes.FIELD("reals", DataTypes.ARRAY(DataTypes.DOUBLE()))).deserialize(bytes(RECORD));
    assertEquals("b", row.getString(0).toString());
    assertArrayEquals(new double[] {1, 0.5}, row.getArray(1).toDoubleArray());
  }

  @Test
  void aRefusedRecordIsARowToo() throws Exception {
    var decoder = decoder(DataTypes.FIELD("id", DataTypes.STRING()), DataTypes.FIELD("n", DataTypes.BIGINT()));
    RowData row = decoder.deserialize(bytes("{\"id\":\"12345\",\"n\":7}"));
    assertTrue(row.isNullAt(0) && row.isNullAt(1));
    assertEquals(StringData.fromString("value"), row.getString(3));
    assertEquals("id: Expected `str` of length <= 4, got '12345'", row.getString(4).toString());
    RowData nothing = decoder.deserialize(null);
    assertTrue(nothing.isNullAt(2));
    assertEquals("json", nothing.getString(3).toString());
  }

  @Test
  void theDecoderTravelsToItsTask() throws Exception {
    var out = new ByteArrayOutputStream();
    new ObjectOutputStream(out).writeObject(decoder(DataTypes.FIELD("id", DataTypes.STRING())));
    var in = new ObjectInputStream(new ByteArrayInputStream(out.toByteArray()));
    @SuppressWarnings("unchecked")
    var decoder = (DeserializationSchema<RowData>) in.readObject();
    assertEquals("é", decoder.deserialize(bytes(RECORD)).getString(0).toString());
  }

  @Test
  void exactlyOneSchemaMustBeGiven(@TempDir Path folder) throws Exception {
    Path file = Files.writeString(folder.resolve("r.avsc"), SCHEMA);
    format(Map.of("schema-file", file.toString()));
    String rule = "contract: exactly one of 'schema' and 'schema-file' must be given, got ";
    assertEquals(rule + "both", error(Map.of("schema", SCHEMA, "schema-file", file.toString())));
    assertEquals(rule + "none", error(Map.of()));
    assertTrue(error(Map.of("schema-file", "/no/such")).startsWith("contract.schema-file must name a file that can be read, got '/no/such'"));
    assertEquals("contract.schema must be the text of an .avsc, which is JSON, got '{'", error(Map.of("schema", "{")));
  }

  @Test
  void aColumnMustBeAFieldOfItsType() {
    assertEquals(
        "column 'x' must be a field of the contract's schema: [id, n, flag, kind, reals, texts, counts]", error("x", DataTypes.STRING()));
    assertEquals("column 'id' must be STRING, got VARCHAR(9)", error("id", DataTypes.VARCHAR(9)));
    assertEquals("column 'n' must be BIGINT, got INT", error("n", DataTypes.INT()));
    assertEquals("column 'kind' must be STRING, or TINYINT for a symbol's place, got BIGINT", error("kind", DataTypes.BIGINT()));
    assertEquals("column 'reals' must be ARRAY<DOUBLE>, or BYTES for packed float64, got ARRAY<FLOAT>", error("reals", DataTypes.ARRAY(DataTypes.FLOAT())));
    assertEquals("column 'texts' must be ARRAY<STRING>, got BYTES", error("texts", DataTypes.BYTES()));
    assertEquals("column 'counts' must be MAP<STRING, BIGINT>, got STRING", error("counts", DataTypes.STRING()));
    assertEquals("column 'id' must be nullable, for a refused record has NULL, got STRING NOT NULL", error("id", DataTypes.STRING().notNull()));
  }
}
