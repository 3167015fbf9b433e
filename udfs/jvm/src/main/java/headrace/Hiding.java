package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/**
 * (recent) of UserHistory -> a row if the newest of the events hides its item from the user (docs/semantics.md, "What
 * is hidden").
 *
 * <p>Job parameters: `actions`, `bought_hidden_ms`, `forever_ms`, and `rated`: whether items are named with their
 * ratings (udfs/factors/live_lists.py).
 */
@DataTypeHint("ROW<member STRING, score BIGINT>")
public class Hiding extends TableFunction<Row> {
  private transient int dislike, block, purchase;
  private transient long boughtMs, foreverMs;
  private transient boolean rated;

  @Override
  public void open(FunctionContext context) {
    var actions = List.of(context.getJobParameter("headrace.actions", "").split(" "));
    rated = Boolean.parseBoolean(context.getJobParameter("headrace.rated", "false"));
    open(actions, UserHistory.setting(context, "bought_hidden_ms"), UserHistory.setting(context, "forever_ms"));
  }

  void open(List<String> actions, long boughtMs, long foreverMs) {
    dislike = actions.indexOf("dislike");
    block = actions.indexOf("block");
    purchase = actions.indexOf("purchase");
    this.boughtMs = boughtMs;
    this.foreverMs = foreverMs;
  }

  public void eval(byte[] recent) {
    int newest = 0;
    for (int at = 0; at < recent.length; at = Recent.next(recent, at)) newest = at;
    if (recent.length == 0) return;
    int action = recent[newest + Event.ACTION];
    if (action != dislike && action != block && action != purchase) return;
    long t = ByteBuffer.wrap(recent).order(ByteOrder.LITTLE_ENDIAN).getLong(newest + Event.T);
    collect(Row.of(item(recent, newest + Event.ITEM), t + (action == purchase ? boughtMs : foreverMs)));
  }

  private String item(byte[] recent, int at) {
    var name = new String(recent, at, recent.length - at, StandardCharsets.UTF_8);
    return rated ? name.substring(name.indexOf(':') + 1) : name;
  }
}
