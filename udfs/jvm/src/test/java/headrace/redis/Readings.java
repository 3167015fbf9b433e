package headrace.redis;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.Histogram;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;

/** The metrics of a writer, to be read. */
final class Readings extends UnregisteredMetricsGroup {
  private final Map<String, Counter> counters;
  private final Map<String, Gauge<?>> gauges = new HashMap<>();
  private final String kind;
  Histogram latencies;

  Readings() {
    this(new HashMap<>(), "");
  }

  private Readings(Map<String, Counter> counters, String kind) {
    this.counters = counters;
    this.kind = kind;
  }

  @Override
  public Counter counter(String name) {
    return counters.computeIfAbsent(kind + name, is -> super.counter(name));
  }

  @Override
  public <T, G extends Gauge<T>> G gauge(String name, G gauge) {
    gauges.put(name, gauge);
    return gauge;
  }

  @Override
  public <H extends Histogram> H histogram(String name, H histogram) {
    latencies = histogram;
    return histogram;
  }

  @Override
  public MetricGroup addGroup(String key, String value) {
    return new Readings(counters, value + " ");
  }

  /** The count of `name`, or of `kind name`. */
  long count(String name) {
    var counter = counters.get(name);
    return counter == null ? 0 : counter.getCount();
  }

  Object gauge(String name) {
    return gauges.get(name).getValue();
  }
}
