package headrace.redis;

/** Wakes the task's thread when replies have come. */
final class Signal {
  private boolean given;

  synchronized void give() {
    given = true;
    notifyAll();
  }

  synchronized void await(long mostMs) throws InterruptedException {
    if (!given) wait(mostMs);
    given = false;
  }
}
