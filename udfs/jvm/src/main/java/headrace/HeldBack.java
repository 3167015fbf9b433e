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
  private static final int REST = 4; // times as long as the last rows took ...
  private static final long LONGEST_MS = 5_000; // ... but no longer
  private transient ScheduledFuture<?> timer;
  private transient long tookMs;

  /** Lets all that is held back go on. */
  abstract void flush();

  final void flushNow() {
    if (timer != null) timer.cancel(false);
    timer = null;
    long began = System.nanoTime();
    flush();
    tookMs = (System.nanoTime() - began) / 1_000_000;
  }

  /** Flushes after so long, unless a timer runs already. */
  final void flushAfter(long ms) {
    if (timer != null) return;
    var time = getProcessingTimeService();
    timer = time.registerTimer(time.getCurrentProcessingTime() + ms, at -> flushNow());
  }

  /**
   * Flushes after so long, or later if what follows is slow. Then more of what comes meanwhile goes on as one, and most
   * of the time goes to what comes before.
   */
  final void flushPaced(long ms) {
    flushAfter(Math.max(ms, Math.min(LONGEST_MS, REST * tookMs)));
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
