package headrace.redis;

/** A key that has something to be written. At most one command of a key is on its way, so that order is kept. */
final class Entry {
  final Key key;
  Change next; // waits
  Change sent; // is not answered yet
  long failingSinceMs; // when Redis first refused it for a passing reason; 0: it did not
  long notBeforeMs; // when it may be tried again
  Address asked; // the node that shall be asked once, while its slot moves there

  Entry(Key key) {
    this.key = key;
  }

  /** @return by how many bytes the entry has grown */
  int put(Change change) {
    int before = bytes();
    next = next == null ? change : change.after(next);
    return bytes() - before;
  }

  int bytes() {
    return (next == null ? 0 : next.bytes()) + (sent == null ? 0 : sent.bytes());
  }

  boolean isIdle() {
    return next == null && sent == null;
  }

  Change take() {
    sent = next;
    next = null;
    return sent;
  }

  /** What was sent waits again, unless something newer does. */
  void putBack() {
    next = next == null ? sent : next.after(sent);
    sent = null;
  }
}
