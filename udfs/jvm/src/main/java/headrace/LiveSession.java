package headrace;

import headrace.UserHistory.User;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The rules of the live session (docs/semantics.md, "The live session"), over the state of a user. */
final class LiveSession {
  private final long gapMs;
  private final boolean clientBounds; // a change of session_id is a boundary

  LiveSession(long gapMs, boolean clientBounds) {
    this.gapMs = gapMs;
    this.clientBounds = clientBounds;
  }

  /** Applies an accepted event, or counts it as late. True if it was applied. */
  boolean accept(User user, Event event, Views views) throws Exception {
    boolean otherId = clientBounds && user.sessionId != null && event.sessionId != null
        && !user.sessionId.equals(event.sessionId);
    if (user.session > 0 && (event.t < user.start - gapMs || (otherId && event.t < user.start))) {
      user.late++;
      return false;
    }
    if (user.session == 0 || event.t > user.end + gapMs || otherId) begin(user, event, views);
    apply(user, event, views);
    return true;
  }

  private static void begin(User user, Event event, Views views) {
    user.session++;
    user.start = user.end = event.t;
    user.sessionId = null;
    user.events = user.items = user.categories = user.late = user.repeats = 0;
    user.amount = 0;
    Arrays.fill(user.counts, 0);
    if (user.spilled) views.forgetSeen();
    user.spilled = false;
  }

  private static void apply(User user, Event event, Views views) throws Exception {
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
    if (newItem && !(user.spilled && views.hasSeen(itemKey(event)))) user.items++;
    if (newCategory && !(user.spilled && views.hasSeen(categoryKey(event)))) user.categories++;
  }

  /** Remembers the item and the category of an event that leaves the recent ones. */
  static void spill(User user, Event event, Views views) {
    user.spilled = true;
    if (event.item.length > 0) views.see(itemKey(event));
    if (event.category != 0) views.see(categoryKey(event));
  }

  private static String itemKey(Event event) {
    return "i" + new String(event.item, StandardCharsets.UTF_8);
  }

  private static String categoryKey(Event event) {
    return "c" + event.category;
  }
}
