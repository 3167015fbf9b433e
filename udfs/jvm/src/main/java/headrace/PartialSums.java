package headrace;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Adds up the changes of each arm for a moment, before they go to the one place where the arm is. So an arm that has
 * half of the traffic is no more work there than any other.
 *
 * <p>In: policy, item_id, period, x, enters, reward_before, reward, as_of_ms. Out: policy, item_id, period, sums,
 * as_of_ms.
 */
final class PartialSums extends HeldBack {
  private static final long serialVersionUID = 1;
  private static final int MOST_VALUES = 4_000_000; // 32 MB

  private record Arm(String policy, String item, long period) {}

  private static final class Sum {
    final double[] values;
    long asOf;

    Sum(int d) {
      values = new double[Sums.length(d)];
    }
  }

  private final long everyMs;
  private transient Map<Arm, Sum> arms;
  private transient Faults faults;
  private transient long held;

  PartialSums(long everyMs) {
    this.everyMs = everyMs;
  }

  @Override
  public void open() throws Exception {
    super.open();
    arms = new HashMap<>();
    faults = new Faults(PartialSums.class, getMetricGroup().addGroup("headrace"));
  }

  @Override
  public void processElement(StreamRecord<RowData> record) {
    var row = record.getValue();
    try {
      add(row);
    } catch (RuntimeException fault) {
      faults.of(fault, row);
    }
    if (held >= MOST_VALUES) flushNow();
    else flushAfter(everyMs);
  }

  private void add(RowData row) {
    var arm = new Arm(row.getString(0).toString(), row.getString(1).toString(), row.getLong(2));
    var x = row.getBinary(3);
    var sum = arms.get(arm);
    if (sum == null) {
      arms.put(arm, sum = new Sum(x.length / 8));
      held += sum.values.length;
    }
    Sums.add(sum.values, x, row.getBoolean(4) ? 1 : 0, row.getDouble(6) - row.getDouble(5));
    sum.asOf = Math.max(sum.asOf, row.getLong(7));
  }

  @Override
  void flush() {
    arms.forEach((arm, sum) -> output.collect(new StreamRecord<>(GenericRowData.of(StringData.fromString(arm.policy),
        StringData.fromString(arm.item), arm.period, Sums.packed(sum.values), sum.asOf))));
    arms.clear();
    held = 0;
  }
}
