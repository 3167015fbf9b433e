package headrace;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.functions.ProcessTableFunction.Context;
import org.apache.flink.table.functions.ProcessTableFunction.OnTimerContext;
import org.apache.flink.table.functions.ProcessTableFunction.TimeContext;
import org.apache.flink.table.functions.TableSemantics;

/** What a function asks of Flink about one row, or one timer, of a key. */
final class HarnessContext implements OnTimerContext, TimeContext<Long> {
  private final Harness harness;
  private final List<Object> key;
  private final long timeMs;
  private final String timer;

  HarnessContext(Harness harness, List<Object> key, long timeMs, String timer) {
    this.harness = harness;
    this.key = key;
    this.timeMs = timeMs;
    this.timer = timer;
  }

  static boolean isContext(Class<?> type) {
    return type.isAssignableFrom(OnTimerContext.class) && type != Object.class;
  }

  @Override
  @SuppressWarnings("unchecked")
  public <T> TimeContext<T> timeContext(Class<T> type) {
    if (type != Long.class) throw new UnsupportedOperationException("times must be Long here, got " + type);
    return (TimeContext<T>) this;
  }

  @Override
  public Long time() {
    return timeMs;
  }

  @Override
  public Long tableWatermark() {
    return harness.watermark;
  }

  @Override
  public Long currentWatermark() {
    return harness.watermark;
  }

  @Override
  public void registerOnTime(String name, Long time) {
    if (name != null) clearTimer(name);
    var names = harness.timers.computeIfAbsent(time, each -> new LinkedHashMap<>());
    var ofKey = names.computeIfAbsent(key, each -> new ArrayList<>());
    if (!ofKey.contains(name)) ofKey.add(name);
  }

  @Override
  public void registerOnTime(Long time) {
    registerOnTime(null, time);
  }

  @Override
  public void clearTimer(String name) {
    for (var at : harness.timers.values()) if (at.containsKey(key)) at.get(key).remove(name);
  }

  @Override
  public void clearTimer(Long time) {
    var at = harness.timers.get(time);
    if (at != null && at.containsKey(key)) at.get(key).remove(null);
  }

  @Override
  public void clearAllTimers() {
    for (var at : harness.timers.values()) at.remove(key);
  }

  @Override
  public String currentTimer() {
    return timer;
  }

  @Override
  public void clearAllState() {
    harness.states.remove(key);
  }

  @Override
  public void clearState(String name) {
    throw new UnsupportedOperationException("clear a view itself, got " + name);
  }

  @Override
  public void clearAll() {
    clearAllState();
    clearAllTimers();
  }

  @Override
  public TableSemantics tableSemanticsFor(String argument) {
    throw new UnsupportedOperationException("no table semantics here, got " + argument);
  }

  @Override
  public ChangelogMode getChangelogMode() {
    return ChangelogMode.insertOnly();
  }
}
