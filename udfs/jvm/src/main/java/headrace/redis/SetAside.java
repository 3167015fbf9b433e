package headrace.redis;

import java.util.HashMap;
import java.util.Map;
import java.util.function.LongSupplier;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Keys that could not be written: counted by kind, and some of them named in the log. */
final class SetAside {
  private static final Logger LOG = LoggerFactory.getLogger(SetAside.class);
  private static final int NAMED = 10, MOST_KINDS = 30; // named: a minute
  private static final long MINUTE_MS = 60_000;
  private final MetricGroup metrics;
  private final LongSupplier clock;
  private final Counter all;
  private final Map<String, Counter> kinds = new HashMap<>();
  private long minuteMs = Long.MIN_VALUE, inMinute, unnamed;

  SetAside(MetricGroup metrics, LongSupplier clock) {
    this.metrics = metrics;
    this.clock = clock;
    all = metrics.counter("set_aside");
  }

  /** @param key null: the row has none */
  void add(Key key, String kind, String message) {
    all.inc();
    kinds.computeIfAbsent(kinds.size() < MOST_KINDS ? kind : "other", this::counter).inc();
    long nowMs = clock.getAsLong();
    if (nowMs - minuteMs >= MINUTE_MS || minuteMs == Long.MIN_VALUE) {
      minuteMs = nowMs;
      inMinute = 0;
    }
    if (++inMinute > NAMED) {
      unnamed++;
      return;
    }
    LOG.warn("redis: key {} was not written: {}{}", key == null ? "NULL" : key, message,
        unnamed == 0 ? "" : " (since the last such line " + unnamed + " more)");
    unnamed = 0;
  }

  private Counter counter(String kind) {
    return metrics.addGroup("kind", kind).counter("set_aside_of_kind");
  }

  long count() {
    return all.getCount();
  }
}
