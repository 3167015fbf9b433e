package headrace.redis;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ScheduledFuture;
import org.apache.flink.api.common.operators.ProcessingTimeService;

/** The timers of a task. They fire in the thread that asks for it, as they do in a task. */
final class Timers implements ProcessingTimeService {
  private record Timer(long atMs, ProcessingTimeCallback callback) {}

  private List<Timer> timers = new ArrayList<>();

  @Override
  public long getCurrentProcessingTime() {
    return System.currentTimeMillis();
  }

  @Override
  public ScheduledFuture<?> registerTimer(long atMs, ProcessingTimeCallback callback) {
    timers.add(new Timer(atMs, callback));
    return null;
  }

  void fireDue() throws Exception {
    var now = timers;
    timers = new ArrayList<>();
    for (var timer : now) {
      if (timer.atMs <= getCurrentProcessingTime()) timer.callback.onProcessingTime(timer.atMs);
      else timers.add(timer);
    }
  }
}
