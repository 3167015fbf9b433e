package headrace;

import static org.apache.flink.table.api.DataTypes.BIGINT;
import static org.apache.flink.table.api.DataTypes.BYTES;
import static org.apache.flink.table.api.DataTypes.FIELD;
import static org.apache.flink.table.api.DataTypes.ROW;
import static org.apache.flink.table.api.DataTypes.STRING;
import static org.apache.flink.table.api.DataTypes.TINYINT;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalTypeFamily;
import org.apache.flink.table.types.logical.RowType;

/**
 * Steps of a job that SQL has no words for. Each takes a view, and declares another one of what comes out. Rows pass as
 * they are, without a conversion. Whatever reads such a view shares the one plan of what stands before it.
 *
 * <p>Made without arguments, so that a job in Python can make one.
 */
public class Operators {
  private static final DataType PARTIAL =
      ROW(FIELD("policy", STRING()), FIELD("item_id", STRING()), FIELD("period", BIGINT()), FIELD("sums", BYTES()),
          FIELD("as_of_ms", BIGINT()));
  private static final DataType CHANGES =
      ROW(FIELD("item", STRING()), FIELD("kind", TINYINT()), FIELD("changes", BYTES()));

  /** Declares the view `to` of a query, which is planned once. */
  public void shared(StreamTableEnvironment tables, String query, String to) {
    var table = tables.sqlQuery(query);
    tables.createTemporaryView(to, stream(tables, table));
  }

  /** Declares the view `to` of PartialSums over the view `of`. */
  public void partialSums(StreamTableEnvironment tables, String of, String to, long everyMs) {
    add(tables, tables.from(of), to, new PartialSums(everyMs), PARTIAL);
  }

  /** Declares the view `to` of PairChanges over the view `of`. */
  public void pairChanges(StreamTableEnvironment tables, String of, String to, long everyMs) {
    add(tables, tables.from(of), to, new PairChanges(everyMs), CHANGES);
  }

  /** Declares the view `to` of Newest over the view `of`, which has a column of bytes. keys: columns, apart by spaces. */
  public void newest(StreamTableEnvironment tables, String of, String to, long everyMs, String keys) {
    var table = tables.from(of);
    var type = type(table);
    var row = (RowType) type.getLogicalType();
    int[] places = Arrays.stream(keys.split(" ")).mapToInt(row::getFieldIndex).toArray();
    int bytes = IntStream.range(0, row.getFieldCount())
        .filter(at -> row.getTypeAt(at).is(LogicalTypeFamily.BINARY_STRING)).findFirst().getAsInt();
    add(tables, table, to, new Newest(everyMs, row, places, bytes), type);
  }

  private static void add(
      StreamTableEnvironment tables, Table of, String to, OneInputStreamOperator<RowData, RowData> operator,
      DataType type) {
    var info = InternalTypeInfo.<RowData>of((RowType) type.getLogicalType());
    tables.createTemporaryView(to, stream(tables, of).transform(to, info, operator).uid(to));
  }

  private static DataStream<RowData> stream(StreamTableEnvironment tables, Table table) {
    return tables.toDataStream(table, type(table).bridgedTo(RowData.class));
  }

  private static DataType type(Table table) {
    return table.getResolvedSchema().toPhysicalRowDataType();
  }
}
