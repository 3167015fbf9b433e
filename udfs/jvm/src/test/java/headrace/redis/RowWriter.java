package headrace.redis;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.api.DataTypes;

/** A writer as a task has it: options and columns as in SQL, rows of Java's values. */
final class RowWriter implements AutoCloseable {
  final Readings metrics = new Readings();
  private final Timers timers = new Timers();
  private final RedisWriter writer;

  /** @param options `name=value`, beside host, port and short times */
  RowWriter(RedisServer server, String columns, String... options) throws Exception {
    this(columns, 0, 1, with(server, options));
  }

  RowWriter(String columns, int subtask, int subtasks, Map<String, String> options) throws Exception {
    var checked = new RedisOptions(options);
    var writing = checked.writing();
    var rows = new RowCommands(Columns.of(row(columns), writing.command()), writing);
    writer = new RedisWriter(rows, checked.server(), writing, subtask, subtasks, timers, metrics);
  }

  static Map<String, String> with(RedisServer server, String... options) {
    var all = new HashMap<>(Map.of("host", "127.0.0.1", "port", "" + server.port, "timeout-ms", "1000"));
    for (var option : options) all.put(option.split("=", 2)[0], option.split("=", 2)[1]);
    if (all.containsKey("nodes")) all.keySet().removeAll(java.util.List.of("host", "port"));
    return all;
  }

  /** @param columns `name TYPE`, with commas between */
  static RowType row(String columns) {
    var fields = new java.util.ArrayList<DataTypes.Field>();
    for (var column : columns.split(", ")) {
      var type =
          switch (column.split(" ")[1]) {
            case "STRING" -> DataTypes.STRING();
            case "BYTES" -> DataTypes.BYTES();
            case "BIGINT" -> DataTypes.BIGINT();
            case "INT" -> DataTypes.INT();
            default -> throw new IllegalArgumentException(column);
          };
      fields.add(DataTypes.FIELD(column.split(" ")[0], type));
    }
    return (RowType) DataTypes.ROW(fields.toArray(DataTypes.Field[]::new)).getLogicalType();
  }

  void write(Object... values) throws Exception {
    var row = new GenericRowData(values.length);
    for (int i = 0; i < values.length; i++)
      row.setField(i, values[i] instanceof String text ? StringData.fromString(text) : values[i]);
    write(row);
  }

  void write(GenericRowData row) throws Exception {
    writer.write(row, null);
    timers.fireDue();
  }

  void tick() throws Exception {
    timers.fireDue();
  }

  void flush() throws Exception {
    writer.flush(false);
  }

  @Override
  public void close() {
    writer.close();
  }
}
