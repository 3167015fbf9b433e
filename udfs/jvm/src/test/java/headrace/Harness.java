package headrace;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.types.RowUtils;

/**
 * A process table function without a cluster: state by key, event time, timers, job parameters and counters.
 *
 * <p>Views are Flink's own classes, in memory. Timers of all keys fire in the order of their times, when the watermark
 * reaches them. What eval or onTimer throws comes out as it is.
 */
final class Harness {
  private final ProcessTableFunction<Row> function;
  private final Method eval, onTimer;
  private final LinkedHashMap<String, Integer> columns = new LinkedHashMap<>();
  private final List<String> keys;
  private final Map<String, Counter> counters = new HashMap<>();
  private final List<Row> collected = new ArrayList<>();
  final Map<List<Object>, List<Object>> states = new LinkedHashMap<>();
  final TreeMap<Long, LinkedHashMap<List<Object>, List<String>>> timers = new TreeMap<>(); // time -> key -> names
  Long watermark; // null before the first

  /** columns, keys: names of the input's columns, and those it is partitioned by, apart by spaces. */
  Harness(ProcessTableFunction<Row> function, Map<String, ?> parameters, String columns, String keys) throws Exception {
    this.function = function;
    this.eval = method("eval");
    this.onTimer = method("onTimer");
    this.keys = List.of(keys.split(" "));
    for (var name : columns.split(" ")) this.columns.put(name, this.columns.size());
    function.setCollector(new ListCollector<>(collected));
    function.open(new FunctionContext(null) {
      @Override
      public String getJobParameter(String name, String other) {
        var value = parameters.get(name.replaceFirst("^headrace\\.", ""));
        return value == null ? other : value.toString();
      }

      @Override
      public MetricGroup getMetricGroup() {
        return metrics;
      }
    });
  }

  /** Evaluates a row to insert, and returns what the function collected. */
  List<Row> insert(long rowTimeMs, Object... values) throws Exception {
    return change(RowKind.INSERT, rowTimeMs, values);
  }

  List<Row> change(RowKind kind, long rowTimeMs, Object... values) throws Exception {
    if (values.length != columns.size())
      throw new IllegalArgumentException("values must be as many as " + columns.keySet() + ", got " + values.length);
    var row = RowUtils.createRowWithNamedPositions(kind, values, columns);
    var key = keys.stream().map(row::getField).toList();
    return call(eval, new HarnessContext(this, key, rowTimeMs, null), key, row);
  }

  /** Moves the watermark on, and returns what the timers collected. */
  List<Row> advance(long toMs) throws Exception {
    watermark = toMs;
    var rows = new ArrayList<Row>();
    while (!timers.isEmpty() && timers.firstKey() <= toMs) {
      var due = timers.pollFirstEntry();
      for (var of : due.getValue().entrySet()) {
        for (var name : of.getValue()) {
          var context = new HarnessContext(this, of.getKey(), due.getKey(), name);
          rows.addAll(call(onTimer, context, of.getKey(), null));
        }
      }
    }
    return rows;
  }

  long counter(String name) {
    return counters.containsKey(name) ? counters.get(name).getCount() : 0;
  }

  /** The state of a key, in the order of eval's arguments; null if it has none. */
  List<Object> state(Object... key) {
    return states.get(Arrays.asList(key));
  }

  /** Forgets everything but the function. */
  void reset() {
    states.clear();
    timers.clear();
    watermark = null;
  }

  private List<Row> call(Method method, HarnessContext context, List<Object> key, Row row) throws Exception {
    if (!states.containsKey(key)) states.put(key, initial());
    var arguments = new ArrayList<Object>();
    if (HarnessContext.isContext(method.getParameterTypes()[0])) arguments.add(context);
    arguments.addAll(states.get(key));
    if (row != null) arguments.add(row);
    collected.clear();
    try {
      method.invoke(function, arguments.toArray());
    } catch (InvocationTargetException thrown) {
      if (thrown.getCause() instanceof Exception cause) throw cause;
      throw thrown;
    }
    return List.copyOf(collected);
  }

  private List<Object> initial() throws Exception {
    var state = new ArrayList<Object>();
    for (var type : eval.getParameterTypes()) {
      if (type != Row.class && !HarnessContext.isContext(type)) state.add(type.getConstructor().newInstance());
    }
    return state;
  }

  private Method method(String name) {
    for (var method : function.getClass().getMethods()) if (method.getName().equals(name)) return method;
    return null;
  }

  private final MetricGroup metrics = new UnregisteredMetricsGroup() {
    @Override
    public MetricGroup addGroup(String name) {
      return this;
    }

    @Override
    public Counter counter(String name) {
      return counters.computeIfAbsent(name, each -> new SimpleCounter());
    }

    @Override
    public <C extends Counter> C counter(String name, C counter) {
      counters.put(name, counter);
      return counter;
    }
  };
}
