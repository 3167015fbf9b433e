package headrace;

import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.util.FlinkRuntimeException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a function could not handle: one row costs itself, not the job. It is counted in `internal`, and logged once a
 * second at most.
 *
 * <p>A fault of the state backend is no fault of a row, and goes on up: the job must fail and read the row again.
 */
final class Faults {
  private static final long LOG_EVERY_NS = 1_000_000_000L;
  private final Logger log;
  private final Counter internal;
  private long loggedNs = System.nanoTime() - LOG_EVERY_NS;

  Faults(Class<?> function, MetricGroup metrics) {
    log = LoggerFactory.getLogger(function);
    internal = metrics.counter("internal");
  }

  /** Counts and logs the fault, and returns it in words. `what` names the row. Throws what is not a row's. */
  String of(RuntimeException fault, Object what) {
    if (fault instanceof FlinkRuntimeException) throw fault;
    internal.inc();
    if (System.nanoTime() - loggedNs >= LOG_EVERY_NS) {
      loggedNs = System.nanoTime();
      log.error("a row failed ({} so far): {}", internal.getCount(), what, fault);
    }
    return fault.getClass().getSimpleName() + ": " + fault.getMessage();
  }
}
