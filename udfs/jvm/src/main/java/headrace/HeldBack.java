package headrace;

import java.util.concurrent.ScheduledFuture;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.table.data.RowData;

/**
 * An operator that holds rows back for a moment. It keeps no state: what it has goes on before a checkpoint's barrier,
 * and at the end.
 */
abstract class HeldBack extends AbstractStreamOperator<RowData> implements OneInputStreamOperator<RowData, RowData> {
  private static final long serialVersionUID = 1;
  private transient ScheduledFuture<?> timer;

  /** Lets all that is held back go on. */
  abstract void flush();

  final void flushNow() {
    if (timer != null) timer.cancel(false);
    timer = null;
    flush();
  }

  /** Flushes after so long, unless a timer runs already. */
  final void flushAfter(long ms) {
    if (timer != null) return;
    var time = getProcessingTimeService();
    timer = time.registerTimer(time.getCurrentProcessingTime() + ms, at -> flushNow());
  }

  @Override
  public void prepareSnapshotPreBarrier(long checkpointId) {
    flushNow();
  }

  @Override
  public void finish() {
    flushNow();
  }
}
