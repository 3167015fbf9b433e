package headrace;

import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * The slates of a user, kept in the JVM: each item's impression, and the reward that the feedback on it makes
 * (docs/bandit.md, "The reward of an impression").
 *
 * <p>It takes impressions and feedback in any order, and gives a row for each change of a reward: the impression, what
 * its reward was and what it is now. An impression `enters` with its first row. A row that could not be worked on has a
 * `fault`, and its place in its topic. State goes by the TTL of the job (forget_ms), counted from its last change.
 */
@DataTypeHint(
    "ROW<item_id STRING, surface STRING, `position` BIGINT, policy STRING, model_version STRING, x BYTES,"
        + " propensity DOUBLE, t BIGINT, encoder_version STRING, enters BOOLEAN, reward_before DOUBLE, reward DOUBLE,"
        + " as_of_ms BIGINT, topic STRING, `partition` INT, `offset` BIGINT, append_ms BIGINT, fault STRING>")
public class Slates extends ProcessTableFunction<Row> {
  private static final String[] PLACE = {"topic", "partition", "offset", "append_ms"};

  private transient RewardTable table;
  private transient Counter entered, corrected, duplicates, unmatched, early, outOfTime;
  private transient Faults faults;

  /** The job parameters of RewardTable say what feedback is worth. */
  @Override
  public void open(FunctionContext context) {
    table = RewardTable.of(context);
    var metrics = context.getMetricGroup().addGroup("headrace");
    entered = metrics.counter("entered");
    corrected = metrics.counter("corrected");
    duplicates = metrics.counter("duplicates");
    unmatched = metrics.counter("feedback_unmatched");
    early = metrics.counter("feedback_early");
    outOfTime = metrics.counter("feedback_out_of_time");
    faults = new Faults(Slates.class, metrics);
  }

  /**
   * @param items of the slate, by item_id: SlateItem.write
   * @param input user_id, impression_id, item_id, topic, partition, offset, t, append_ms; of an impression surface,
   *     position, policy, model_version, context, propensity, encoder_version; of feedback action, and whether it is
   *     the first of its session. What is of the other is null.
   */
  public void eval(
      @StateHint MapView<String, byte[]> items, @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    try {
      var id = (String) input.getField("item_id");
      var item = SlateItem.read(items.get(id));
      var change = input.getField("policy") != null ? show(item, input) : act(item, input);
      if (change == UNCHANGED) return;
      items.put(id, item.write());
      if (change != SILENT) collect(row(id, item, change));
    } catch (RuntimeException fault) {
      collect(faulty(input, faults.of(fault, input)));
    }
  }

  /** What a row did: an impression enters, or a reward was `old`. */
  private record Change(boolean enters, double old) {}

  private static final Change UNCHANGED = new Change(false, 0);
  private static final Change SILENT = new Change(false, 0); // of the state alone

  private Change show(SlateItem item, Row input) {
    if (item.shown) {
      duplicates.inc();
      return UNCHANGED;
    }
    item.shown = true;
    item.t = (Long) input.getField("t");
    item.appendMs = item.asOf = (Long) input.getField("append_ms");
    item.surface = (String) input.getField("surface");
    item.position = (Long) input.getField("position");
    item.policy = (String) input.getField("policy");
    item.modelVersion = (String) input.getField("model_version");
    item.propensity = (Double) input.getField("propensity");
    item.encoderVersion = (String) input.getField("encoder_version");
    item.x = Sums.quantised((byte[]) input.getField("context"));
    early.inc(item.waiting.size());
    for (var feedback : item.waiting) if (!item.apply(feedback, table)) outOfTime.inc();
    item.waiting.clear();
    entered.inc();
    return new Change(true, 0);
  }

  private Change act(SlateItem item, Row input) {
    var feedback = new SlateItem.Feedback((Byte) input.getField("action"), (Boolean) input.getField("first"),
        (Long) input.getField("t"), (Long) input.getField("append_ms"));
    if (!item.shown) {
      unmatched.inc();
      if (item.waiting.size() >= SlateItem.MOST_WAITING) return UNCHANGED;
      item.waiting.add(feedback);
      return SILENT;
    }
    double old = item.reward();
    long asOf = item.asOf;
    if (!item.apply(feedback, table)) {
      outOfTime.inc();
      return UNCHANGED;
    }
    if (item.reward() == old && item.asOf == asOf) return SILENT;
    corrected.inc();
    return new Change(false, old);
  }

  private static Row row(String id, SlateItem item, Change change) {
    return Row.of(id, item.surface, item.position, item.policy, item.modelVersion, item.x, item.propensity, item.t,
        item.encoderVersion, change.enters, change.old, item.reward(), item.asOf, null, null, null, null, null);
  }

  private static Row faulty(Row input, String fault) {
    var row = new Row(18);
    row.setField(0, input.getField("item_id"));
    int at = 13;
    for (var name : PLACE) row.setField(at++, input.getField(name));
    row.setField(at, fault);
    return row;
  }
}
