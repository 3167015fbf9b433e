package headrace.redis;

import headrace.redis.WriteOptions.Kind;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.types.RowKind;

/**
 * A table that SQL inserts into.
 *
 * @param keyed whether it has a primary key: then it also takes updates and deletions
 * @param parallelism null: that of the input
 */
record RedisTable(Columns columns, ServerOptions server, WriteOptions options, boolean keyed, Integer parallelism)
    implements DynamicTableSink {
  @Override
  public ChangelogMode getChangelogMode(ChangelogMode requested) {
    if (!keyed || options.command() == Kind.ZADD) return ChangelogMode.insertOnly();
    return ChangelogMode.newBuilder()
        .addContainedKind(RowKind.INSERT)
        .addContainedKind(RowKind.UPDATE_AFTER)
        .addContainedKind(RowKind.DELETE)
        .build();
  }

  @Override
  public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
    return SinkV2Provider.of(new RedisSink(columns, server, options), parallelism);
  }

  @Override
  public DynamicTableSink copy() {
    return this;
  }

  @Override
  public String asSummaryString() {
    return "redis " + options.command() + " to " + server;
  }
}
