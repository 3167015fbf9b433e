package headrace.contract;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;

/**
 * Verdicts on the records of a file, which Python compares with its own: one line a record, "good" and a sum of the
 * row's values, or reason and detail.
 *
 * <p>Run: ContractVerdicts RECORDS VERDICTS SCHEMA... A record is the place of its schema (1 byte), its length (4 bytes,
 * big-endian; -1: no value) and its bytes.
 */
public final class ContractVerdicts {
  private final ContractSchema schema;
  private final ContractDecoder decoder;

  private ContractVerdicts(Path file) throws IOException {
    schema = ContractSchema.parse(Files.readString(file));
    int n = schema.fields.length;
    var fields = new int[n];
    var coded = new boolean[n];
    for (int f = 0; f < n; f++) {
      fields[f] = f;
      coded[f] = schema.fields[f].kind == ContractField.Kind.ARRAY && schema.fields[f].items == ContractField.Kind.DOUBLE;
    }
    decoder = new ContractDecoder(schema, fields, coded, List.of(ContractMetadata.REASON, ContractMetadata.DETAIL), null);
  }

  public static void main(String[] arguments) throws IOException {
    List<ContractVerdicts> verdicts = new ArrayList<>();
    for (int i = 2; i < arguments.length; i++) verdicts.add(new ContractVerdicts(Path.of(arguments[i])));
    try (var records = new DataInputStream(new BufferedInputStream(Files.newInputStream(Path.of(arguments[0])), 1 << 20));
        var lines = new BufferedOutputStream(Files.newOutputStream(Path.of(arguments[1])), 1 << 20)) {
      judge(verdicts, records, lines);
    }
  }

  private static void judge(List<ContractVerdicts> verdicts, DataInputStream records, OutputStream lines) throws IOException {
    while (true) {
      int schema = records.read();
      if (schema < 0) return;
      int length = records.readInt();
      byte[] value = length < 0 ? null : records.readNBytes(length);
      if (value != null && value.length < length) throw new EOFException();
      lines.write((verdicts.get(schema).of(value) + "\n").getBytes(StandardCharsets.UTF_8));
    }
  }

  private String of(byte[] value) {
    RowData row = decoder.deserialize(value);
    int n = schema.fields.length;
    return row.isNullAt(n) ? "good\t" + sum(row) : row.getString(n) + "\t" + row.getString(n + 1);
  }

  private long sum(RowData row) {
    var sum = new CRC32();
    for (int f = 0; f < schema.fields.length; f++) {
      if (row.isNullAt(f)) continue;
      sum.update(f);
      sum.update(bytes(row, f));
    }
    return sum.getValue();
  }

  private byte[] bytes(RowData row, int f) {
    return switch (schema.fields[f].kind) {
      case STRING, ENUM -> row.getString(f).toBytes();
      case LONG -> Long.toString(row.getLong(f)).getBytes(StandardCharsets.US_ASCII);
      case DOUBLE -> Long.toHexString(Double.doubleToRawLongBits(row.getDouble(f))).getBytes(StandardCharsets.US_ASCII);
      case BOOLEAN -> new byte[] {(byte) (row.getBoolean(f) ? 1 : 0)};
      case ARRAY -> schema.fields[f].items == ContractField.Kind.DOUBLE ? row.getBinary(f) : items(row.getArray(f), schema.fields[f].items);
      case MAP -> map(row.getMap(f), schema.fields[f].items);
    };
  }

  private static byte[] map(MapData map, ContractField.Kind kind) {
    return (texts(map.keyArray(), ContractField.Kind.STRING) + texts(map.valueArray(), kind)).getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] items(ArrayData items, ContractField.Kind kind) {
    return texts(items, kind).getBytes(StandardCharsets.UTF_8);
  }

  private static String texts(ArrayData items, ContractField.Kind kind) {
    var texts = new StringBuilder();
    for (int i = 0; i < items.size(); i++) texts.append(text(items, i, kind)).append(',');
    return texts.toString();
  }

  private static String text(ArrayData items, int i, ContractField.Kind kind) {
    return switch (kind) {
      case LONG -> Long.toString(items.getLong(i));
      case BOOLEAN -> items.getBoolean(i) ? "True" : "False";
      default -> items.getString(i).toString();
    };
  }
}
