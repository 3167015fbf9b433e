package headrace;

import headrace.UserHistory.User;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.TreeMap;

/**
 * The rules of event-time spans (docs/semantics.md, "Closed sessions"), over the state of a user.
 *
 * <p>Open spans never overlap, so an event's time tells its span. But an open span may overlap one that was emitted: an
 * emitted event is marked as such as long as it is among the recent ones, and belongs to no other span.
 */
final class Spans {
  private final long gapMs, waitMs;
  private final int actions;

  Spans(long gapMs, long waitMs, int actions) {
    this.gapMs = gapMs;
    this.waitMs = waitMs;
    this.actions = actions;
  }

  boolean isTooLate(User user, long t) {
    if (user.clock == UserHistory.NONE || t + waitMs >= user.clock) return false;
    for (int i = 0; i < user.spans.length; i += 2) if (isNear(user, i, t)) return false;
    return true;
  }

  private boolean isNear(User user, int i, long t) {
    return t >= user.spans[i] - gapMs && t <= user.spans[i + 1] + gapMs;
  }

  static boolean isOpen(User user, long t) {
    for (int i = 0; i < user.spans.length; i += 2) if (t >= user.spans[i] && t <= user.spans[i + 1]) return true;
    return false;
  }

  /** Makes one span of t and the open spans within a gap of it. */
  void join(User user, long t) {
    var spans = new ArrayList<Long>();
    long start = t, end = t;
    for (int i = 0; i < user.spans.length; i += 2) {
      if (isNear(user, i, t)) {
        start = Math.min(start, user.spans[i]);
        end = Math.max(end, user.spans[i + 1]);
      } else {
        spans.addAll(List.of(user.spans[i], user.spans[i + 1]));
      }
    }
    spans.addAll(List.of(start, end));
    user.spans = array(spans);
  }

  /** Takes the spans out that a clock has passed, with their events. */
  Collection<ClosedSpan> close(User user, long clock, Views views) throws Exception {
    var open = new ArrayList<Long>();
    var closed = new TreeMap<Long, ClosedSpan>(); // by start
    for (int i = 0; i < user.spans.length; i += 2) {
      long start = user.spans[i], end = user.spans[i + 1];
      if (end + waitMs < clock) closed.put(start, new ClosedSpan(start, end, actions));
      else open.addAll(List.of(start, end));
    }
    if (closed.isEmpty()) return List.of();
    user.spans = array(open);
    user.recent = user.recent.clone();
    for (int at = 0; at < user.recent.length; at = Recent.next(user.recent, at)) {
      var event = Event.read(user.recent, at);
      if (!event.emitted && take(event, closed)) Recent.markEmitted(user.recent, at);
    }
    if (user.logged) user.logged = views.takeFromLog(event -> take(event, closed));
    return closed.values();
  }

  /** Adds the event to its closed span, if it has one. */
  private static boolean take(Event event, TreeMap<Long, ClosedSpan> closed) {
    var span = closed.floorEntry(event.t);
    if (span == null || event.t > span.getValue().end) return false;
    span.getValue().add(event);
    return true;
  }

  private static long[] array(List<Long> spans) {
    return spans.stream().mapToLong(Long::longValue).toArray();
  }
}
