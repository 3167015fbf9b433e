package headrace.redis;

import headrace.redis.Columns.Role;
import headrace.redis.WriteOptions.Kind;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.RowType;

/** `'connector' = 'redis'` (docs/flink-redis.md). */
public final class RedisTableFactory implements DynamicTableSinkFactory {
  @Override
  public String factoryIdentifier() {
    return "redis";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of();
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return RedisOptions.ALL;
  }

  @Override
  public DynamicTableSink createDynamicTableSink(Context context) {
    FactoryUtil.createTableFactoryHelper(this, context).validate();
    var options = new RedisOptions(context.getCatalogTable().getOptions());
    var table = context.getCatalogTable().getResolvedSchema();
    var server = options.server();
    var writing = options.writing();
    var row = (RowType) context.getPhysicalRowDataType().getLogicalType();
    var columns = Columns.of(row, writing.command());
    boolean keyed = table.getPrimaryKey().isPresent();
    table.getPrimaryKey().ifPresent(key -> checkKey(key.getColumns(), writing.command()));
    return new RedisTable(columns, server, writing, keyed, options.parallelism());
  }

  private static void checkKey(List<String> columns, Kind command) {
    var names = new TreeSet<String>();
    for (var role : Arrays.asList(Role.KEY, Role.FIELD, Role.MEMBER))
      if (role.isOf(command)) names.add(role.column());
    if (!names.equals(new TreeSet<>(columns)))
      throw new ValidationException(
          "redis: the primary key for 'command' = '" + command + "' must be " + String.join(", ", names) + ", got "
              + String.join(", ", columns));
  }
}
