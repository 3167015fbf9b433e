package headrace;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.time.Instant;
import java.time.ZoneId;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * (counters, session_id, recent) of UserHistory -> the live session as one JSON object. docs/semantics.md defines each
 * field.
 *
 * <p>Job parameters: `actions`, in the order of the schema, and `time_zone`.
 */
public class SessionJson extends ScalarFunction {
  private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle DOUBLE = MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);
  private static final List<String> PAGE_VIEWS = List.of("view", "search");
  private static final List<String> INTERACTIONS =
      List.of("click", "like", "share", "rate", "dislike", "block", "cart", "uncart");
  private static final int RATES = 65; // rates of fewer events are formatted once
  private static final long QUARTER_MS = 900_000; // no zone changes its offset within a quarter of an hour
  private static final byte[] NO_TEXT = {};

  // Offsets of UserHistory.counters.
  static final int AS_OF = 16;
  private static final int START = 0, END = 8, EVENTS = 24, ITEMS = 32, CATEGORIES = 40;
  private static final int LATE = 48, REPEATS = 56, TRUNCATED = 64, AMOUNT = 72, COUNTS = 80;

  private transient JsonBytes json;
  private transient byte[][] quoted, countNames, rateNames, rates;
  private transient int[] pageViews, interactions, conversions;
  private transient ZoneId zone;
  private transient long quarter;
  private transient int hour, weekday;
  private transient int[] places;

  @Override
  public void open(FunctionContext context) {
    open(context.getJobParameter("headrace.actions", "").split(" "), context.getJobParameter("headrace.time_zone", ""));
  }

  void open(String[] actions, String timeZone) {
    json = new JsonBytes();
    quoted = Arrays.stream(actions).map(action -> JsonBytes.ascii('"' + action + '"')).toArray(byte[][]::new);
    countNames = names("count_", actions);
    rateNames = names("rate_", actions);
    rates = new byte[RATES * RATES][];
    for (int n = 1; n < RATES; n++)
      for (int part = 0; part <= n; part++) rates[n * RATES + part] = JsonBytes.decimal((double) part / n);
    pageViews = offsets(actions, PAGE_VIEWS);
    interactions = offsets(actions, INTERACTIONS);
    conversions = offsets(actions, List.of("purchase"));
    zone = ZoneId.of(timeZone);
    quarter = Long.MIN_VALUE;
    places = new int[64];
  }

  private static byte[][] names(String prefix, String[] actions) {
    return Arrays.stream(actions).map(action -> name(prefix + action)).toArray(byte[][]::new);
  }

  private static byte[] name(String field) {
    return JsonBytes.ascii(",\"" + field + "\":");
  }

  private static int[] offsets(String[] actions, List<String> some) {
    return some.stream().mapToInt(action -> COUNTS + 8 * List.of(actions).indexOf(action)).toArray();
  }

  private static final byte[] SESSION_ID = JsonBytes.ascii("{\"session_id\":");
  private static final byte[] STARTED_MS = name("started_ms"), ENDED_MS = name("ended_ms"), AS_OF_MS = name("as_of_ms");
  private static final byte[] DURATION_H = name("duration_h"), EVENT_COUNT = name("events"), VIEWED = name("page_views");
  private static final byte[] INTERACTED = name("interactions"), CONVERTED = name("conversions"), BOUNCE = name("bounce");
  private static final byte[] DISTINCT_ITEMS = name("distinct_items"), DISTINCT_CATEGORIES = name("distinct_categories");
  private static final byte[] SPEND = name("spend"), MEAN_DWELL_S = name("mean_dwell_s");
  private static final byte[] START_HOUR = name("start_hour"), START_WEEKDAY = name("start_weekday");
  private static final byte[] RECENT_ITEMS = name("recent_items"), RECENT_ACTIONS = name("recent_actions");
  private static final byte[] RECENT_TS_MS = name("recent_ts_ms"), RECENT_TRUNCATED = name("recent_truncated");
  private static final byte[] LATE_EVENTS = name("late"), REPEATED = name("repeats");

  public byte[] eval(
      byte[] counters, @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData session, byte[] recent) {
    long start = (long) LONG.get(counters, START), length = (long) LONG.get(counters, END) - start;
    long events = (long) LONG.get(counters, EVENTS);
    byte[] sessionId = session == null ? NO_TEXT : session.toBytes();
    json.clear();
    json.put(SESSION_ID);
    json.string(sessionId, 0, sessionId.length);
    number(STARTED_MS, start);
    number(ENDED_MS, start + length);
    number(AS_OF_MS, (long) LONG.get(counters, AS_OF));
    real(DURATION_H, length / 3_600_000.0);
    number(EVENT_COUNT, events);
    number(VIEWED, sum(counters, pageViews));
    number(INTERACTED, sum(counters, interactions));
    number(CONVERTED, sum(counters, conversions));
    number(BOUNCE, events == 1 ? 1 : 0);
    number(DISTINCT_ITEMS, (long) LONG.get(counters, ITEMS));
    number(DISTINCT_CATEGORIES, (long) LONG.get(counters, CATEGORIES));
    real(SPEND, (double) DOUBLE.get(counters, AMOUNT));
    real(MEAN_DWELL_S, events > 1 ? length / 1000.0 / (events - 1) : 0);
    calendar(start);
    byAction(counters, events);
    recent(recent);
    number(RECENT_TRUNCATED, (long) LONG.get(counters, TRUNCATED));
    number(LATE_EVENTS, (long) LONG.get(counters, LATE));
    number(REPEATED, (long) LONG.get(counters, REPEATS));
    json.put('}');
    return json.take();
  }

  private void number(byte[] name, long value) {
    json.put(name);
    json.number(value);
  }

  private void real(byte[] name, double value) {
    json.put(name);
    json.put(value == 0 ? rates[RATES] : JsonBytes.decimal(value));
  }

  private static long sum(byte[] counters, int[] offsets) {
    long sum = 0;
    for (int offset : offsets) sum += (long) LONG.get(counters, offset);
    return sum;
  }

  private void calendar(long start) {
    if (Math.floorDiv(start, QUARTER_MS) != quarter) {
      quarter = Math.floorDiv(start, QUARTER_MS);
      var local = Instant.ofEpochMilli(start).atZone(zone);
      hour = local.getHour();
      weekday = local.getDayOfWeek().getValue() - 1;
    }
    number(START_HOUR, hour);
    number(START_WEEKDAY, weekday);
  }

  private void byAction(byte[] counters, long events) {
    for (int action = 0; action < quoted.length; action++)
      number(countNames[action], (long) LONG.get(counters, COUNTS + 8 * action));
    for (int action = 0; action < quoted.length; action++) {
      long count = (long) LONG.get(counters, COUNTS + 8 * action);
      json.put(rateNames[action]);
      json.put(events < RATES ? rates[(int) (events * RATES + count)] : JsonBytes.decimal((double) count / events));
    }
  }

  /** The recent events as three arrays, newest first. */
  private void recent(byte[] recent) {
    int kept = 0;
    for (int at = 0; at < recent.length; at = Recent.next(recent, at)) {
      if (kept == places.length) places = Arrays.copyOf(places, 2 * kept);
      places[kept++] = at;
    }
    json.put(RECENT_ITEMS);
    for (int i = kept - 1; i >= 0; i--) {
      json.put(i == kept - 1 ? '[' : ',');
      json.string(recent, places[i] + Event.ITEM, Recent.next(recent, places[i]));
    }
    end(kept, RECENT_ACTIONS);
    for (int i = kept - 1; i >= 0; i--) {
      json.put(i == kept - 1 ? '[' : ',');
      json.put(quoted[recent[places[i] + Event.ACTION]]);
    }
    end(kept, RECENT_TS_MS);
    for (int i = kept - 1; i >= 0; i--) {
      json.put(i == kept - 1 ? '[' : ',');
      json.number((long) LONG.get(recent, places[i] + Event.T));
    }
    end(kept, new byte[0]);
  }

  private void end(int kept, byte[] nextName) {
    if (kept == 0) json.put('[');
    json.put(']');
    json.put(nextName);
  }
}
