package headrace.redis;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.data.RowData;

/**
 * Writes rows at least once: `flush` returns when Redis has answered for each of them.
 *
 * <p>The newest change of a key waits until its connection is idle and the linger is over, or until many keys wait. At
 * most one command of a key is on its way, so a key's changes arrive in order whatever is tried again, moved or lost.
 * All but the reading of replies happens in the task's thread.
 */
final class RedisWriter implements SinkWriter<RowData> {
  private static final long RETRY_MS = 100, WAIT_MS = 5; // until a passing error is tried again; until we look again
  private static final int PARTS = 4; // of bufferBytes: as much goes out without waiting for the linger

  private final RowCommands rows;
  private final WriteOptions options;
  private final long patienceMs;
  private final ProcessingTimeService timers;
  private final Topology topology;
  private final Connections connections;
  private final Signal signal = new Signal();
  private final SetAside setAside;
  private final Latencies latencies = new Latencies(System::currentTimeMillis);
  private final Counter written, expired;

  private final Map<Key, Entry> entries = new HashMap<>();
  private final ArrayDeque<Entry> ready = new ArrayDeque<>(); // something waits, and nothing is on its way
  private final ArrayDeque<Entry> delayed = new ArrayDeque<>(); // the same, but not before some time
  private long bytes; // of all entries
  private boolean armed; // a timer runs
  private volatile int waiting; // entries, for the gauge

  RedisWriter(
      RowCommands rows, ServerOptions server, WriteOptions options, int subtask, int subtasks,
      ProcessingTimeService timers, MetricGroup metrics)
      throws IOException, InterruptedException {
    this.rows = rows;
    this.options = options;
    this.timers = timers;
    patienceMs = server.retryMs();
    topology = Topology.of(server);
    var owner = options.owner();
    var fence = owner == null ? null : new Fence(topology, server, owner, subtask, subtasks);
    connections = new Connections(server, topology, fence, signal);
    setAside = new SetAside(metrics, System::currentTimeMillis);
    written = metrics.counter("written");
    expired = metrics.counter("expired");
    metrics.histogram("append_to_answer_ms", latencies);
    metrics.gauge("connections", connections::count);
    metrics.gauge("waiting", () -> waiting);
    try {
      while (!connections.all()) signal.await(WAIT_MS);
    } catch (IOException | InterruptedException | RuntimeException error) {
      connections.close();
      throw error;
    }
  }

  @Override
  public void write(RowData row, Context context) throws IOException, InterruptedException {
    Key key = null;
    try {
      key = rows.key(row);
      if (rows.isOver(row, System.currentTimeMillis())) expired.inc();
      else take(key, rows.change(key, row));
    } catch (RowCommands.Refused refused) {
      setAside.add(key, refused.kind, refused.getMessage());
    }
  }

  private void take(Key key, Change change) throws IOException, InterruptedException {
    var entry = entries.get(key);
    if (entry == null || bytes >= options.bufferBytes()) {
      if (isFull()) await(() -> !isFull());
      entry = entries.computeIfAbsent(key, Entry::new); // the old one may have been written meanwhile
    }
    if (entry.isIdle()) ready.add(entry);
    bytes += entry.put(change);
    waiting = entries.size();
    if (isMuch()) progress(true);
    arm(options.lingerMs());
  }

  private boolean isFull() {
    return entries.size() >= options.mostKeys() || bytes >= options.bufferBytes();
  }

  /** Whether enough waits to be sent whatever Redis does. */
  private boolean isMuch() {
    return ready.size() >= options.buffer() || bytes * PARTS >= options.bufferBytes() && !ready.isEmpty();
  }

  private void arm(long afterMs) {
    if (armed || entries.isEmpty()) return;
    armed = true;
    timers.registerTimer(timers.getCurrentProcessingTime() + afterMs, this::onTimer);
  }

  private void onTimer(long atMs) throws IOException {
    armed = false;
    progress(isMuch());
    arm(1);
  }

  /** Takes the replies that have come, and sends what can be sent. busyToo: as for `send`. */
  private void progress(boolean busyToo) throws IOException {
    drain();
    long nowMs = System.currentTimeMillis();
    while (!delayed.isEmpty() && delayed.peek().notBeforeMs <= nowMs) ready.add(delayed.poll());
    send(busyToo);
    waiting = entries.size();
  }

  private void drain() throws IOException {
    for (var connection : connections.listed()) {
      var failure = connection.failure();
      connection.drain(this::answered);
      if (failure == null) continue;
      for (var entry : connection.unanswered()) again(entry);
      connections.lost(connection);
    }
  }

  /** @param busyToo also to connections with replies outstanding; else newer changes may replace what waits for them */
  private void send(boolean busyToo) throws IOException {
    for (int i = ready.size(); i > 0; i--) {
      var entry = ready.poll();
      var connection = entry.asked == null ? connections.of(entry.key) : connections.to(entry.asked);
      if (connection != null && (busyToo || connection.isIdle())) connection.add(entry, entry.asked != null);
      else ready.add(entry);
      if (connection == null || entry.sent != null) entry.asked = null; // once
    }
    for (var connection : connections.listed()) connection.flush();
  }

  private void answered(Connection connection, Entry entry, RedisError error, long atMs) throws IOException {
    connections.isThere(connection);
    if (error == null) {
      written.inc();
      if (entry.sent.asOfMs() != Change.NEVER) latencies.update(atMs - entry.sent.asOfMs());
      done(entry);
    } else if (error.redirects() || error.passes() || error.refused()) {
      retry(connection, entry, error);
    } else {
      setAside.add(entry.key, error.kind(), error.message());
      done(entry);
    }
  }

  private void done(Entry entry) {
    bytes -= entry.sent.bytes();
    entry.sent = null;
    entry.failingSinceMs = 0;
    if (entry.next != null) ready.add(entry);
    else entries.remove(entry.key);
  }

  private void retry(Connection connection, Entry entry, RedisError error) throws IOException {
    long nowMs = System.currentTimeMillis();
    if (entry.failingSinceMs == 0) entry.failingSinceMs = nowMs;
    if (error.elsewhere()) topology.doubt();
    if (error.redirects()) topology.moved(error, connection.address);
    if (nowMs - entry.failingSinceMs > patienceMs) {
      setAside.add(entry.key, error.kind(), error.message());
      done(entry);
    } else if (error.redirects()) {
      if (error.ask()) entry.asked = error.node(connection.address);
      again(entry);
    } else {
      putBack(entry);
      entry.notBeforeMs = nowMs + RETRY_MS;
      delayed.add(entry);
    }
  }

  private void again(Entry entry) {
    putBack(entry);
    ready.add(entry);
  }

  private void putBack(Entry entry) {
    long before = entry.bytes();
    entry.putBack();
    bytes += entry.bytes() - before;
  }

  private void await(BooleanSupplier done) throws IOException, InterruptedException {
    while (true) {
      progress(true);
      if (done.getAsBoolean()) return;
      signal.await(WAIT_MS);
    }
  }

  @Override
  public void flush(boolean endOfInput) throws IOException, InterruptedException {
    await(entries::isEmpty);
  }

  @Override
  public void close() {
    connections.close();
  }
}
