package headrace;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/** Whether a record has no reason to be refused. Those that have one are counted, under the name that is given. */
public class Accepted extends ScalarFunction {
  private transient MetricGroup metrics;
  private transient Map<String, Counter> refused;

  @Override
  public void open(FunctionContext context) {
    metrics = context.getMetricGroup();
    refused = new HashMap<>();
  }

  /** It counts, so it may not be called twice for a record, and a condition of it is all of a WHERE. */
  @Override
  public boolean isDeterministic() {
    return false;
  }

  public Boolean eval(String reason, String metric) {
    if (reason == null) return true;
    refused.computeIfAbsent(metric, metrics::counter).inc();
    return false;
  }
}
