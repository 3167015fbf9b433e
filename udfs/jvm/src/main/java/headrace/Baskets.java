package headrace;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
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
 * The baskets of a user, kept in the JVM, and what each event changes in them (docs/collaborative.md, "Together").
 *
 * <p>A row out says: for this kind and bucket, the pairs of `item` with each of `others` gain (sign 1) or lose (-1)
 * this user. An item is its own pair. A touched item pairs with EVERYBODY alone, whose list is the trending one.
 *
 * <p>The state keeps the first time of each item in a basket, and the number of purchases and refunds. So the result
 * does not depend on order, repeats and lateness of events, and 10,000 clicks on an item cost no more state than one.
 */
@DataTypeHint("ROW<item STRING, kind TINYINT, bucket BIGINT, sign TINYINT, others ARRAY<STRING>, as_of_ms BIGINT>")
public class Baskets extends ProcessTableFunction<Row> {
  static final byte VIEWED = 0, BOUGHT = 1, TOUCHED = 2, KINDS = 3;
  static final String EVERYBODY = ""; // no item has this id
  static final long DAY_MS = 86_400_000, NONE = Long.MIN_VALUE;
  private static final String[] WITH_EVERYBODY = {EVERYBODY};

  /** The savepoint's schema (see UserHistory.User), as are the layouts of Day and Trade. */
  public static class User {
    public long newest = NONE; // bucket of the newest event that counted
    public long[] traded = {}; // hashed ids of the last purchases and refunds, oldest first
    public long timer = NONE; // time of the pending timer
  }

  private transient Faults faults;
  private transient List<Row> rows;
  private transient Counter counted, repeats, tooOld, beyond;
  private transient int cap, horizon, history, tradedMax, purchase, refund;
  private transient boolean[] viewed, touched; // by action

  @Override
  public void open(FunctionContext context) {
    cap = (int) UserHistory.setting(context, "cap");
    horizon = (int) UserHistory.setting(context, "horizon_days");
    history = (int) UserHistory.setting(context, "history");
    tradedMax = (int) UserHistory.setting(context, "traded_max");
    var actions = names(context, "actions");
    viewed = flags(actions, names(context, "viewed"));
    touched = flags(actions, names(context, "touched"));
    purchase = actions.indexOf("purchase");
    refund = actions.indexOf("refund");
    var metrics = context.getMetricGroup().addGroup("headrace");
    rows = new ArrayList<>();
    faults = new Faults(Baskets.class, metrics);
    counted = metrics.counter("counted");
    repeats = metrics.counter("repeats");
    tooOld = metrics.counter("too_old");
    beyond = metrics.counter("beyond_traded_max");
  }

  private static List<String> names(FunctionContext context, String name) {
    return Arrays.asList(context.getJobParameter("headrace." + name, "").split(" "));
  }

  private static boolean[] flags(List<String> actions, List<String> some) {
    var flags = new boolean[actions.size()];
    for (int i = 0; i < flags.length; i++) flags[i] = some.contains(actions.get(i));
    return flags;
  }

  /**
   * @param days by bucket: the user's Day
   * @param trades by item: its Trade in each bucket
   * @param input event_id, ts_ms, append_ms, action, item_id
   */
  public void eval(
      Context context,
      @StateHint(ttl = UserHistory.NO_TTL) User user,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<Long, byte[]> days,
      @StateHint(ttl = UserHistory.NO_TTL) MapView<String, byte[]> trades,
      @ArgumentHint({ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME}) Row input)
      throws Exception {
    rows.clear();
    try {
      if (handle(user, days, trades, input)) setTimer(context.timeContext(Long.class), user);
    } catch (RuntimeException fault) {
      faults.of(fault, input.getField("event_id"));
    }
    rows.forEach(this::collect);
  }

  /** False for an event that does not count. */
  private boolean handle(User user, MapView<Long, byte[]> days, MapView<String, byte[]> trades, Row input)
      throws Exception {
    int action = (Byte) input.getField("action");
    boolean trade = action == purchase || action == refund;
    if (!trade && !viewed[action] && !touched[action]) return false;
    long t = (Long) input.getField("ts_ms"), asOf = (Long) input.getField("append_ms");
    long bucket = Math.floorDiv(t, DAY_MS);
    if (user.newest != NONE && bucket <= user.newest - horizon) {
      tooOld.inc();
      return false;
    }
    if (trade && !remember(user, Event.hash((String) input.getField("event_id")))) {
      repeats.inc();
      return false;
    }
    counted.inc();
    var item = (String) input.getField("item_id");
    if (bucket > user.newest) advance(user, bucket, days, trades, asOf);
    if (trade) trade(days, trades, item, t, action == refund, asOf);
    else change(days, bucket, asOf, day -> day.act(item, t, viewed[action], touched[action], cap));
    return true;
  }

  /** Forgets the user when the watermark has passed all of their days. */
  public void onTimer(OnTimerContext context, User user, MapView<Long, byte[]> days, MapView<String, byte[]> trades) {
    var time = context.timeContext(Long.class);
    if (user.newest == NONE) context.clearAllState();
    if (time.time() != user.timer) return;
    user.timer = NONE;
    if (time.time() >= expiry(user)) context.clearAllState(); // not clearAll(), see UserHistory.onTimer
    else setTimer(time, user);
  }

  /** Keeps one pending timer per user, and sets the next one when it fires. */
  private void setTimer(TimeContext<Long> time, User user) {
    if (user.timer != NONE) return;
    user.timer = expiry(user);
    time.registerOnTime(user.timer);
  }

  private long expiry(User user) {
    return (user.newest + horizon + 1) * DAY_MS;
  }

  /**
   * Begins a new day for the user, and removes what is older than the horizon. Without an old refund, the purchase that
   * it took back may count again.
   */
  private void advance(User user, long bucket, MapView<Long, byte[]> days, MapView<String, byte[]> trades, long asOf)
      throws Exception {
    boolean first = user.newest == NONE;
    user.newest = bucket;
    if (first) return;
    long oldest = bucket - horizon + 1;
    var expired = new ArrayList<Long>();
    for (long day : days.keys()) if (day < oldest) expired.add(day);
    for (long day : expired) days.remove(day);
    var changed = new HashMap<String, TreeMap<Long, Trade>>();
    for (var entry : trades.entries()) {
      var ofItem = Trade.read(entry.getValue());
      if (ofItem.firstKey() < oldest) changed.put(entry.getKey(), ofItem);
    }
    for (var entry : changed.entrySet()) {
      var kept = new TreeMap<>(entry.getValue().tailMap(oldest, true));
      if (kept.isEmpty()) trades.remove(entry.getKey());
      else trades.put(entry.getKey(), Trade.write(kept));
      restand(days, entry.getKey(), Trade.standing(entry.getValue()), Trade.standing(kept), asOf);
    }
  }

  /** Remembers the id of a purchase or refund. False for a repeat. */
  private boolean remember(User user, long id) {
    for (long earlier : user.traded) if (earlier == id) return false;
    int kept = Math.min(user.traded.length, history - 1);
    var next = Arrays.copyOfRange(user.traded, user.traded.length - kept, user.traded.length + 1);
    next[kept] = id;
    user.traded = next;
    return true;
  }

  private void trade(
      MapView<Long, byte[]> days, MapView<String, byte[]> trades, String item, long t, boolean refunded, long asOf)
      throws Exception {
    long bucket = Math.floorDiv(t, DAY_MS);
    var before = Trade.read(trades.get(item));
    if (!before.containsKey(bucket)) {
      var day = Day.read(days.get(bucket));
      if (day.traded >= tradedMax) {
        beyond.inc();
        return;
      }
      day.traded++;
      days.put(bucket, day.write());
    }
    var after = new TreeMap<>(before);
    after.merge(bucket, refunded ? new Trade(0, Long.MAX_VALUE, 1) : new Trade(1, t, 0), Trade::plus);
    trades.put(item, Trade.write(after));
    restand(days, item, Trade.standing(before), Trade.standing(after), asOf);
  }

  private void restand(
      MapView<Long, byte[]> days, String item, Map<Long, Long> before, Map<Long, Long> after, long asOf)
      throws Exception {
    var buckets = new TreeSet<>(before.keySet());
    buckets.addAll(after.keySet());
    for (long bucket : buckets) change(days, bucket, asOf, day -> day.stand(item, after.get(bucket)));
  }

  /** Changes a day by `edit`, which says whether it did, and sends the changes of its baskets. */
  private void change(MapView<Long, byte[]> days, long bucket, long asOf, Predicate<Day> edit) throws Exception {
    var bytes = days.get(bucket);
    var after = Day.read(bytes);
    if (!edit.test(after)) return;
    days.put(bucket, after.write());
    var before = Day.read(bytes);
    for (byte kind = 0; kind < KINDS; kind++) {
      Set<String> old = before.basket(kind, cap), now = after.basket(kind, cap);
      move(kind, bucket, old, now, (byte) -1, asOf);
      move(kind, bucket, now, old, (byte) 1, asOf);
    }
  }

  /** Sends the pairs that come in (sign 1) or go out (-1) with the items of `basket` that are not in `other`. */
  private void move(byte kind, long bucket, Set<String> basket, Set<String> other, byte sign, long asOf) {
    var moved = new LinkedHashSet<>(basket);
    moved.removeAll(other);
    if (moved.isEmpty()) return;
    var others = kind == TOUCHED ? WITH_EVERYBODY : basket.toArray(String[]::new);
    for (var item : moved) rows.add(Row.of(item, kind, bucket, sign, others, asOf));
    if (kind == TOUCHED) return;
    others = moved.toArray(String[]::new);
    for (var item : basket) if (!moved.contains(item)) rows.add(Row.of(item, kind, bucket, sign, others, asOf));
  }
}
