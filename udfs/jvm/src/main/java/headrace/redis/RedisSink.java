package headrace.redis;

import java.io.IOException;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.table.data.RowData;

/** A sink whose writers open their connections where they run. */
record RedisSink(Columns columns, ServerOptions server, WriteOptions options) implements Sink<RowData> {
  @Override
  public SinkWriter<RowData> createWriter(WriterInitContext context) throws IOException {
    var task = context.getTaskInfo();
    try {
      return new RedisWriter(
          new RowCommands(columns, options), server, options, task.getIndexOfThisSubtask(),
          task.getNumberOfParallelSubtasks(), context.getProcessingTimeService(),
          context.metricGroup().addGroup("redis"));
    } catch (InterruptedException cancelled) {
      Thread.currentThread().interrupt();
      throw new IOException("cancelled while connecting to redis", cancelled);
    }
  }
}
