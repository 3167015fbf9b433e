package headrace;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.ListView;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * The keyed state of a user, kept in the JVM: counters of the live session, the last N events, the open event-time
 * spans.
 *
 * <p>It knows events, gaps and N, and no feature. docs/semantics.md defines every rule, in the words used here. One row
 * in gives rows of three kinds out: the user's new counters and recent events (LIVE), each span that closes (CLOSED),
 * an event that came too late for its span (LATE).
 */
@DataTypeHint(
    "ROW<kind TINYINT, counters BYTES, session_id STRING, recent BYTES,"
        + " start_ms BIGINT, end_ms BIGINT, events BIGINT, counts MAP<STRING, BIGINT>, items ARRAY<STRING>,"
        + " `key` BYTES, `value` BYTES, `partition` INT, `offset` BIGINT, detail STRING>")
public class UserHistory extends ProcessTableFunction<Row> {
  static final byte LIVE = 0, CLOSED = 1, LATE = 2;
  private static final int[] FIRST = {1, 4, 9}; // by kind: the index of its first column
  private static final int COLUMNS = 14;
  static final long NONE = Long.MIN_VALUE;
  // Without a TTL, Flink 2.3 takes Long.MAX_VALUE ms, and keeps and checks it: a quarter of this operator's time.
  static final String NO_TTL = "0 ms";

  /**
   * The savepoint's schema (Flink's POJO rules). Fields may be added: for the users of an old savepoint they start at
   * the value given here. A field is never renamed, retyped or given another meaning. The layout of `recent` and of the
   * log is part of the schema.
   */
  public static class User {
    public long clock = NONE; // highest t accepted, or passed by the watermark after silence
    public long start, end, asOf; // of the live session, ms
    public String sessionId; // as the tracker gives it
    public int session; // ordinal of the live session; 0 before the first
    public long events, items, categories, late, repeats;
    public double amount;
    public long[] counts = {}; // by action
    public byte[] recent = {}; // the last N accepted events, oldest first: Event.write
    public int kept; // events in recent
    public boolean spilled; // some events of the live session have left recent: see `seen`
    public boolean logged; // some events of the open spans have left recent: see `log`
    public long[] spans = {}; // start, end of each open span
    public long grace = NONE; // the watermark closes no span before this
    public long timer = NONE; // time of the pending timer
  }

  private transient Counter applied, repeats, late, tooLate;
  private transient long gapMs, latenessMs, waitMs, forgetMs;
  private transient int history, recent;
  private transient String[] actions;

  /** Settings come as job parameters, since a timer has no arguments. */
  @Override
  public void open(FunctionContext context) {
    gapMs = setting(context, "gap_ms");
    latenessMs = setting(context, "lateness_ms");
    forgetMs = setting(context, "forget_ms");
    history = (int) setting(context, "history");
    recent = (int) setting(context, "recent");
    waitMs = gapMs + latenessMs;
    actions = context.getJobParameter("headrace.actions", "").split(" ");
    var metrics = context.getMetricGroup().addGroup("headrace");
    applied = metrics.counter("applied");
    repeats = metrics.counter("repeats");
    late = metrics.counter("late");
    tooLate = metrics.counter("too_late");
  }

  static long setting(FunctionContext context, String name) {
    return Long.parseLong(context.getJobParameter("headrace." + name, ""));
  }

  /**
   * @param seen items and categories of the live session's events that have left recent: so distinct counts are exact
   *     at any length
   * @param log the events of open spans that have left recent
   * @param input user_id, event_id, ts_ms, append_ms, action, item_id, category, session_id, amount, key, value,
   *     partition, offset, append_ts
   */
  public void eval(
      Context context,
      @StateHint(ttl = NO_TTL) User user,
      @StateHint(ttl = NO_TTL) MapView<String, Boolean> seen,
      @StateHint(ttl = NO_TTL) ListView<byte[]> log,
      @ArgumentHint({ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME}) Row input)
      throws Exception {
    var event = Event.of(input);
    // The schema may have gained actions since this user's last event.
    if (user.counts.length < actions.length) user.counts = Arrays.copyOf(user.counts, actions.length);
    if (Recent.has(user.recent, event.id)) {
      repeats.inc();
      user.repeats++;
    } else if (isTooLate(user, event.t)) {
      tooLate.inc();
      collectLate(input, "ts_ms: must be >= " + (user.clock - waitMs)
          + ", the user's clock less gap and lateness, got " + event.t);
      return;
    } else {
      accept(user, event, seen, log);
      user.clock = Math.max(user.clock, event.t);
      closeSpans(user, log);
      var time = context.timeContext(Long.class);
      Long watermark = time.currentWatermark();
      if (watermark != null && event.t + waitMs < watermark) user.grace = watermark + latenessMs;
      setTimer(time, user);
    }
    user.asOf = event.appendMs;
    collect(row(LIVE, counters(user), user.sessionId, Recent.last(user.recent, user.kept, recent)));
  }

  /** Closes the spans that the watermark has passed; after forgetMs of silence, forgets the user. */
  public void onTimer(OnTimerContext context, User user, MapView<String, Boolean> seen, ListView<byte[]> log)
      throws Exception {
    var time = context.timeContext(Long.class);
    // Never clearAll() or clearAllTimers(): Flink 2.3 walks through the timers of every user, keeps the last user as
    // the current one, and then clears that one's state.
    if (user.clock == NONE) context.clearAllState(); // an old timer of a user who was forgotten meanwhile
    if (time.time() != user.timer) return;
    user.timer = NONE;
    if (user.spans.length == 0 && time.time() >= user.clock + forgetMs) {
      context.clearAllState();
      return;
    }
    if (user.spans.length > 0 && time.time() >= user.grace) {
      user.clock = Math.max(user.clock, time.time());
      closeSpans(user, log);
    }
    setTimer(time, user);
  }

  private boolean isTooLate(User user, long t) {
    if (user.clock == NONE || t + waitMs >= user.clock) return false;
    for (int i = 0; i < user.spans.length; i += 2) {
      if (t >= user.spans[i] - gapMs && t <= user.spans[i + 1] + gapMs) return false;
    }
    return true;
  }

  private void accept(User user, Event event, MapView<String, Boolean> seen, ListView<byte[]> log) throws Exception {
    mergeSpan(user, event.t);
    boolean otherId = user.sessionId != null && event.sessionId != null && !user.sessionId.equals(event.sessionId);
    if (user.session > 0 && (event.t < user.start - gapMs || (otherId && event.t < user.start))) {
      late.inc();
      user.late++;
    } else {
      applied.inc();
      if (user.session == 0 || event.t > user.end + gapMs || otherId) begin(user, event, seen);
      apply(user, event, seen);
    }
    user.recent = Recent.append(user.recent, event);
    user.kept++;
    while (user.kept > history) dropOldest(user, seen, log);
  }

  private static void dropOldest(User user, MapView<String, Boolean> seen, ListView<byte[]> log) throws Exception {
    var oldest = Event.read(user.recent, 0);
    if (oldest.session == user.session) spill(user, oldest, seen);
    if (isOpen(user, oldest.t)) {
      log.add(oldest.write());
      user.logged = true;
    }
    user.recent = Arrays.copyOfRange(user.recent, Recent.next(user.recent, 0), user.recent.length);
    user.kept--;
  }

  private static boolean isOpen(User user, long t) {
    for (int i = 0; i < user.spans.length; i += 2) if (t >= user.spans[i] && t <= user.spans[i + 1]) return true;
    return false;
  }

  private static void begin(User user, Event event, MapView<String, Boolean> seen) throws Exception {
    user.session++;
    user.start = user.end = event.t;
    user.sessionId = null;
    user.events = user.items = user.categories = user.late = user.repeats = 0;
    user.amount = 0;
    Arrays.fill(user.counts, 0);
    if (user.spilled) seen.clear();
    user.spilled = false;
  }

  private static void apply(User user, Event event, MapView<String, Boolean> seen) throws Exception {
    event.session = user.session;
    user.start = Math.min(user.start, event.t);
    user.end = Math.max(user.end, event.t);
    if (user.sessionId == null) user.sessionId = event.sessionId;
    user.events++;
    user.counts[event.action]++;
    user.amount += event.amount;
    boolean newItem = event.item.length > 0, newCategory = event.category != 0;
    for (int at = 0; at < user.recent.length && (newItem || newCategory); at = Recent.next(user.recent, at)) {
      if (Recent.session(user.recent, at) != user.session) continue;
      newItem = newItem && !Recent.hasItem(user.recent, at, event.item);
      newCategory = newCategory && Recent.category(user.recent, at) != event.category;
    }
    if (newItem && !(user.spilled && seen.contains(itemKey(event)))) user.items++;
    if (newCategory && !(user.spilled && seen.contains(categoryKey(event)))) user.categories++;
  }

  private static void spill(User user, Event event, MapView<String, Boolean> seen) throws Exception {
    user.spilled = true;
    if (event.item.length > 0) seen.put(itemKey(event), true);
    if (event.category != 0) seen.put(categoryKey(event), true);
  }

  private static String itemKey(Event event) {
    return "i" + new String(event.item, StandardCharsets.UTF_8);
  }

  private static String categoryKey(Event event) {
    return "c" + event.category;
  }

  private void mergeSpan(User user, long t) {
    var spans = new ArrayList<Long>();
    long start = t, end = t;
    for (int i = 0; i < user.spans.length; i += 2) {
      if (t >= user.spans[i] - gapMs && t <= user.spans[i + 1] + gapMs) {
        start = Math.min(start, user.spans[i]);
        end = Math.max(end, user.spans[i + 1]);
      } else {
        spans.addAll(List.of(user.spans[i], user.spans[i + 1]));
      }
    }
    spans.addAll(List.of(start, end));
    user.spans = spans.stream().mapToLong(Long::longValue).toArray();
  }

  private void closeSpans(User user, ListView<byte[]> log) throws Exception {
    var open = new ArrayList<Long>();
    var closed = new TreeMap<Long, Long>();
    for (int i = 0; i < user.spans.length; i += 2) {
      if (user.spans[i + 1] + waitMs < user.clock) closed.put(user.spans[i], user.spans[i + 1]);
      else open.addAll(List.of(user.spans[i], user.spans[i + 1]));
    }
    if (closed.isEmpty()) return;
    user.spans = open.stream().mapToLong(Long::longValue).toArray();
    var events = new TreeMap<Long, List<Event>>();
    for (long start : closed.keySet()) events.put(start, new ArrayList<>());
    for (int at = 0; at < user.recent.length; at = Recent.next(user.recent, at)) {
      take(Event.read(user.recent, at), closed, events);
    }
    if (user.logged) {
      var rest = new ArrayList<byte[]>();
      for (byte[] bytes : log.get()) if (!take(Event.read(bytes, 0), closed, events)) rest.add(bytes);
      log.clear();
      log.addAll(rest);
      user.logged = !rest.isEmpty();
    }
    for (var span : closed.entrySet()) collectClosed(span.getKey(), span.getValue(), events.get(span.getKey()));
  }

  /** Adds the event to its closed span, if it has one. Spans never overlap, so its time determines the span. */
  private static boolean take(Event event, TreeMap<Long, Long> closed, TreeMap<Long, List<Event>> events) {
    var span = closed.floorEntry(event.t);
    if (span == null || event.t > span.getValue()) return false;
    events.get(span.getKey()).add(event);
    return true;
  }

  /**
   * Keeps one pending timer per user, and sets the next one only when it fires: a timer for every event would cost more
   * than the event. When an earlier timer is registered, the later one still fires. `onTimer` sees by its time that it
   * is not the pending one, and ignores it.
   */
  private void setTimer(TimeContext<Long> time, User user) {
    long next = user.spans.length == 0 ? user.clock + forgetMs : Long.MAX_VALUE;
    for (int i = 1; i < user.spans.length; i += 2) next = Math.min(next, user.spans[i] + waitMs + 1);
    next = Math.max(next, user.grace);
    if (user.timer != NONE && user.timer <= next) return;
    user.timer = next;
    time.registerOnTime(next);
  }

  /** Packs the counters little-endian, as udfs/session.py reads them (COUNTERS). */
  private byte[] counters(User user) {
    var buffer = ByteBuffer.allocate(8 * (10 + user.counts.length)).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(user.start).putLong(user.end).putLong(user.asOf).putLong(user.events);
    buffer.putLong(user.items).putLong(user.categories).putLong(user.late).putLong(user.repeats);
    buffer.putLong(user.kept > recent ? 1 : 0).putDouble(user.amount);
    for (long count : user.counts) buffer.putLong(count);
    return buffer.array();
  }

  private void collectClosed(long start, long end, List<Event> events) {
    var counts = new TreeMap<String, Long>();
    Map<byte[], Long> first = new TreeMap<>(Arrays::compareUnsigned); // UTF-8 bytes sort like code points
    for (var event : events) {
      counts.merge(actions[event.action], 1L, Long::sum);
      if (event.item.length > 0) first.merge(event.item, event.t, Math::min);
    }
    var items = first.entrySet().stream()
        .sorted(Comparator.comparingLong(Map.Entry::getValue)) // stable: ties stay in the order of items
        .map(e -> new String(e.getKey(), StandardCharsets.UTF_8))
        .toArray(String[]::new);
    collect(row(CLOSED, start, end, (long) events.size(), counts, items));
  }

  private void collectLate(Row input, String detail) {
    collect(row(LATE, input.getField("key"), input.getField("value"), input.getField("partition"),
        input.getField("offset"), detail));
  }

  /** A row out, from the columns of its kind. The columns of the other kinds are null. */
  private static Row row(byte kind, Object... columns) {
    var row = new Row(COLUMNS);
    row.setField(0, kind);
    for (int i = 0; i < columns.length; i++) row.setField(FIRST[kind] + i, columns[i]);
    return row;
  }

  /**
   * One accepted event. Layout of write(), little-endian: body length u16, id i64, t i64, session i32, category i64,
   * action u8, item UTF-8.
   */
  static final class Event {
    static final int ID = 2, T = 10, SESSION = 18, CATEGORY = 22, ACTION = 30, ITEM = 31;
    long id, t, appendMs, category;
    int session; // ordinal of the live session it was applied to, 0 if late
    byte action;
    byte[] item;
    String sessionId;
    double amount;

    static Event of(Row row) {
      var event = new Event();
      event.id = hash((String) row.getField(1));
      event.t = (Long) row.getField(2);
      event.appendMs = (Long) row.getField(3);
      event.action = (Byte) row.getField(4);
      event.item = row.getField(5) == null ? new byte[0] : ((String) row.getField(5)).getBytes(StandardCharsets.UTF_8);
      event.category = row.getField(6) == null ? 0 : hash((String) row.getField(6));
      event.sessionId = (String) row.getField(7);
      event.amount = (Double) row.getField(8);
      return event;
    }

    static Event read(byte[] bytes, int at) {
      var event = new Event();
      var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
      event.id = buffer.getLong(at + ID);
      event.t = buffer.getLong(at + T);
      event.session = buffer.getInt(at + SESSION);
      event.category = buffer.getLong(at + CATEGORY);
      event.action = bytes[at + ACTION];
      event.item = Arrays.copyOfRange(bytes, at + ITEM, Recent.next(bytes, at));
      return event;
    }

    byte[] write() {
      var buffer = ByteBuffer.allocate(ITEM + item.length).order(ByteOrder.LITTLE_ENDIAN);
      buffer.putShort((short) (ITEM - 2 + item.length)).putLong(id).putLong(t).putInt(session).putLong(category);
      return buffer.put(action).put(item).array();
    }

    /** FNV-1a over UTF-16 units, then a finaliser: 64 bits, never 0. */
    static long hash(String text) {
      long h = 0xcbf29ce484222325L;
      for (int i = 0; i < text.length(); i++) h = (h ^ text.charAt(i)) * 0x100000001b3L;
      h = (h ^ (h >>> 32)) * 0xd6e8feb86659fd93L;
      h ^= h >>> 32;
      return h == 0 ? 1 : h;
    }
  }

  /** Events, one after another in one byte array: it is copied and stored as a whole, and searched in place. */
  static final class Recent {
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    static int next(byte[] recent, int at) {
      return at + 2 + ((recent[at] & 0xff) | (recent[at + 1] & 0xff) << 8);
    }

    static boolean has(byte[] recent, long id) {
      for (int at = 0; at < recent.length; at = next(recent, at)) {
        if ((long) LONG.get(recent, at + Event.ID) == id) return true;
      }
      return false;
    }

    static int session(byte[] recent, int at) {
      return (int) INT.get(recent, at + Event.SESSION);
    }

    static long category(byte[] recent, int at) {
      return (long) LONG.get(recent, at + Event.CATEGORY);
    }

    static boolean hasItem(byte[] recent, int at, byte[] item) {
      return Arrays.equals(recent, at + Event.ITEM, next(recent, at), item, 0, item.length);
    }

    static byte[] append(byte[] recent, Event event) {
      var bytes = event.write();
      var all = Arrays.copyOf(recent, recent.length + bytes.length);
      System.arraycopy(bytes, 0, all, recent.length, bytes.length);
      return all;
    }

    /** The last n of the kept events. */
    static byte[] last(byte[] recent, int kept, int n) {
      int at = 0;
      for (int skip = kept - n; skip > 0; skip--) at = next(recent, at);
      return Arrays.copyOfRange(recent, at, recent.length);
    }
  }
}
