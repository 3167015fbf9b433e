package headrace;

import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * A global model, kept in the JVM: it brings an aggregate together with the version from which its round began
 * (docs/federated.md, "The fold").
 *
 * <p>The model comes back from its own topic. So the state is the one version that readers see. An aggregate that comes
 * twice, or belongs to another version, changes nothing.
 */
@DataTypeHint(
    "ROW<`round` BIGINT, version BIGINT, length BIGINT, rule STRING, rate DOUBLE, layers STRING, scale DOUBLE,"
        + " nodes ARRAY<BIGINT>, parameters ARRAY<STRING>, moments ARRAY<STRING>, `values` ARRAY<STRING>>")
public class Fold extends ProcessTableFunction<Row> {
  static final byte MODEL = 0;

  /** The savepoint's schema (see UserHistory.User). */
  public static class Model {
    public long version = -1, parts, length; // version: the newest of which a part has arrived
    public String layers;
    public long folded = -1; // the version whose successor has been sent
    public long round, from = -1, buckets; // of the aggregate that waits
    public String rule;
    public Double rate; // null: the rule's own
    public double scale;
  }

  /**
   * @param parameters of the version, by part
   * @param moments of the version, by part, where the rule has moments
   * @param values of the aggregate, by bucket * parts + part
   * @param nodes of the aggregate, by bucket
   * @param input kind, round, version, part, parts, length, rule, rate, parameters, moments, layers, scale, nodes,
   *     bucket, buckets, values
   */
  public void eval(
      Context context,
      @StateHint(ttl = UserHistory.NO_TTL) Model model,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, String> parameters,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, String> moments,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, String> values,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, Long> nodes,
      @ArgumentHint(ArgumentTrait.SET_SEMANTIC_TABLE) Row input)
      throws Exception {
    if ((Byte) input.getField("kind") == MODEL) version(model, parameters, moments, input);
    else aggregate(model, values, nodes, input);
    if (model.from != model.version || model.folded >= model.version) return;
    var base = all(parameters, model.parts);
    var opened = all(values, model.parts * model.buckets);
    if (base == null || opened == null) return;
    var counts = new Long[(int) model.buckets];
    for (int bucket = 0; bucket < counts.length; bucket++) counts[bucket] = nodes.get((long) bucket);
    collect(Row.of(model.round, model.version, model.length, model.rule, model.rate, model.layers, model.scale, counts,
        base, all(moments, model.parts), opened));
    model.folded = model.version;
    values.clear();
    nodes.clear();
  }

  /** All parts in their order, or null while one is missing. */
  private static String[] all(MapView<Long, String> parts, long count) throws Exception {
    var texts = new String[(int) count];
    for (int part = 0; part < texts.length; part++) if ((texts[part] = parts.get((long) part)) == null) return null;
    return texts;
  }

  private static void version(Model model, MapView<Long, String> parameters, MapView<Long, String> moments, Row input)
      throws Exception {
    long version = (Long) input.getField("version"), part = (Long) input.getField("part");
    if (version < model.version) return;
    if (version > model.version) {
      parameters.clear();
      moments.clear();
    }
    model.version = version;
    model.parts = (Long) input.getField("parts");
    model.length = (Long) input.getField("length");
    model.layers = (String) input.getField("layers");
    parameters.put(part, (String) input.getField("parameters"));
    if (input.getField("moments") != null) moments.put(part, (String) input.getField("moments"));
  }

  private static void aggregate(Model model, MapView<Long, String> values, MapView<Long, Long> nodes, Row input)
      throws Exception {
    long from = (Long) input.getField("version"), round = (Long) input.getField("round");
    if (from < model.version || from < model.from || from <= model.folded) return;
    if (round != model.round) {
      values.clear();
      nodes.clear();
    }
    model.from = from;
    model.round = round;
    model.buckets = (Long) input.getField("buckets");
    model.rule = (String) input.getField("rule");
    model.rate = (Double) input.getField("rate");
    model.scale = (Double) input.getField("scale");
    long bucket = (Long) input.getField("bucket"), parts = (Long) input.getField("parts");
    nodes.put(bucket, (Long) input.getField("nodes"));
    values.put(bucket * parts + (Long) input.getField("part"), (String) input.getField("values"));
  }
}
