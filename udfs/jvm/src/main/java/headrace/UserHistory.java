package headrace;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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
 * in gives rows of four kinds out: the user's new counters and recent events (LIVE), each span that closes (CLOSED), an
 * event that came too late for its span (LATE), a row that failed and changed nothing (INTERNAL).
 */
@DataTypeHint(
    "ROW<kind TINYINT, counters BYTES, session_id STRING, recent BYTES,"
        + " start_ms BIGINT, end_ms BIGINT, events BIGINT, counts MAP<STRING, BIGINT>, items ARRAY<STRING>,"
        + " distinct_items BIGINT, truncated BOOLEAN,"
        + " `key` BYTES, `value` BYTES, `partition` INT, `offset` BIGINT, detail STRING>")
public class UserHistory extends ProcessTableFunction<Row> {
  static final byte LIVE = 0, CLOSED = 1, LATE = 2, INTERNAL = 3;
  static final long NONE = Long.MIN_VALUE;
  // Without a TTL, Flink 2.3 takes Long.MAX_VALUE ms, and keeps and checks it: a quarter of this operator's time.
  static final String NO_TTL = "0 ms";

  /**
   * The savepoint's schema. Flink 2.3 keeps such a class as a row of its fields' values in the order of their names. So
   * no field is ever added, removed, renamed or retyped: a savepoint from before would not be restored. What is new
   * gets an argument of its own. The layout of `recent` and of the log is part of the schema. StateLayoutTest restores
   * old bytes of all of it.
   */
  public static class User {
    public long clock = NONE; // highest t accepted, or passed by the watermark after silence
    public long start, end, asOf; // of the live session, ms
    public String sessionId; // the first one that came
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

    /** Makes this user equal to another, and shares only arrays that are never changed in place. */
    User become(User other) {
      clock = other.clock;
      start = other.start;
      end = other.end;
      asOf = other.asOf;
      sessionId = other.sessionId;
      session = other.session;
      events = other.events;
      items = other.items;
      categories = other.categories;
      late = other.late;
      repeats = other.repeats;
      amount = other.amount;
      counts = other.counts.clone();
      recent = other.recent;
      kept = other.kept;
      spilled = other.spilled;
      logged = other.logged;
      spans = other.spans;
      grace = other.grace;
      timer = other.timer;
      return this;
    }
  }

  private transient Counter applied, repeats, late, tooLate;
  private transient Faults faults;
  private transient Senders senders;
  private transient LiveSession live;
  private transient Spans spans;
  private transient long waitMs, latenessMs, forgetMs;
  private transient int history, recent;
  private transient boolean restoring;
  private transient String[] actions;

  /** Settings come as job parameters, since a timer has no arguments. */
  @Override
  public void open(FunctionContext context) {
    long gapMs = setting(context, "gap_ms");
    latenessMs = setting(context, "lateness_ms");
    forgetMs = setting(context, "forget_ms");
    history = (int) setting(context, "history");
    recent = (int) setting(context, "recent");
    waitMs = gapMs + latenessMs;
    actions = context.getJobParameter("headrace.actions", "").split(" ");
    restoring = Boolean.parseBoolean(context.getJobParameter("headrace.restoring", "false"));
    live = new LiveSession(gapMs, context.getJobParameter("headrace.boundary", "gap").equals("client"));
    spans = new Spans(gapMs, waitMs, actions.length);
    var metrics = context.getMetricGroup().addGroup("headrace");
    applied = metrics.counter("applied");
    repeats = metrics.counter("repeats");
    late = metrics.counter("late");
    tooLate = metrics.counter("too_late");
    faults = new Faults(UserHistory.class, metrics);
    senders = new Senders(metrics);
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
    var time = context.timeContext(Long.class);
    var before = new User().become(user);
    var views = new Views(seen, log);
    List<Row> rows;
    try {
      rows = handle(user, views, input, time.currentWatermark());
    } catch (RuntimeException fault) {
      user.become(before);
      collect(HistoryRow.letter(INTERNAL, input, faults.of(fault, HistoryRow.place(input))));
      return;
    }
    // What fails from here on is Flink's, and not the row's: the job has to read the row again.
    views.commit();
    if (user.clock != NONE) setTimer(time, user);
    rows.forEach(this::collect);
  }

  private List<Row> handle(User user, Views views, Row input, Long watermark) throws Exception {
    senders.check((String) input.getField(0), (byte[]) input.getField(9), (Integer) input.getField(11));
    var event = Event.of(input);
    var rows = new ArrayList<Row>(1);
    // The schema may have gained actions since this user's last event.
    if (user.counts.length < actions.length) user.counts = Arrays.copyOf(user.counts, actions.length);
    if (Recent.has(user.recent, event.id)) {
      repeats.inc();
      user.repeats++;
    } else if (spans.isTooLate(user, event.t)) {
      tooLate.inc();
      return List.of(HistoryRow.letter(LATE, input, "ts_ms: must be >= " + (user.clock - waitMs)
          + ", the user's clock less gap and lateness, got " + event.t));
    } else {
      accept(user, event, views);
      user.clock = Math.max(user.clock, event.t);
      close(user, user.clock, views, rows);
      if (watermark != null && event.t + waitMs < watermark) user.grace = watermark + latenessMs;
    }
    user.asOf = event.appendMs;
    rows.add(HistoryRow.live(user, recent, actions.length));
    return rows;
  }

  /**
   * Closes the spans that the watermark has passed; after forgetMs of silence, forgets the user. Every user has a pending
   * timer. A run that restores Redis fires them all at its end, and each only shows its user's state.
   */
  public void onTimer(OnTimerContext context, User user, MapView<String, Boolean> seen, ListView<byte[]> log)
      throws Exception {
    var time = context.timeContext(Long.class);
    // Never clearAll() or clearAllTimers(): Flink 2.3 walks through the timers of every user, keeps the last user as
    // the current one, and then clears that one's state.
    if (user.clock == NONE) context.clearAllState(); // an old timer of a user who was forgotten meanwhile
    if (time.time() != user.timer) return;
    if (restoring) {
      collect(HistoryRow.live(user, recent, actions.length));
      return;
    }
    user.timer = NONE;
    if (user.spans.length == 0 && time.time() >= user.clock + forgetMs) {
      context.clearAllState();
      return;
    }
    var rows = new ArrayList<Row>();
    if (user.spans.length > 0 && time.time() >= user.grace) {
      var before = new User().become(user);
      var views = new Views(seen, log);
      try {
        close(user, Math.max(user.clock, time.time()), views, rows);
      } catch (RuntimeException fault) {
        user.become(before);
        faults.of(fault, "timer of a user");
        return; // the user's next event tries again
      }
      views.commit();
    }
    setTimer(time, user);
    rows.forEach(this::collect);
  }

  private void accept(User user, Event event, Views views) throws Exception {
    spans.join(user, event.t);
    (live.accept(user, event, views) ? applied : late).inc();
    user.recent = Recent.append(user.recent, event);
    user.kept++;
    while (user.kept > history) dropOldest(user, views);
  }

  private static void dropOldest(User user, Views views) {
    var oldest = Event.read(user.recent, 0);
    if (oldest.session == user.session) LiveSession.spill(user, oldest, views);
    if (!oldest.emitted && Spans.isOpen(user, oldest.t)) {
      views.log(oldest.write());
      user.logged = true;
    }
    user.recent = Arrays.copyOfRange(user.recent, Recent.next(user.recent, 0), user.recent.length);
    user.kept--;
  }

  private void close(User user, long clock, Views views, List<Row> rows) throws Exception {
    for (var span : spans.close(user, clock, views)) rows.add(HistoryRow.of(CLOSED, span.columns(actions)));
  }

  /**
   * Keeps one pending timer per user, and sets the next one only when it fires: a timer for every event would cost more
   * than the event. An earlier one takes its place. Savepoints of 0.1.0 have more; `onTimer` sees by its time that such
   * a timer is not the pending one, and ignores it.
   */
  private void setTimer(TimeContext<Long> time, User user) {
    long next = user.spans.length == 0 ? user.clock + forgetMs : Long.MAX_VALUE;
    for (int i = 1; i < user.spans.length; i += 2) next = Math.min(next, user.spans[i] + waitMs + 1);
    next = Math.max(next, user.grace);
    if (user.timer != NONE && user.timer <= next) return;
    if (user.timer != NONE) time.clearTimer(user.timer);
    user.timer = next;
    time.registerOnTime(next);
  }
}
