package headrace.redis;

import java.io.Closeable;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * One connection. First it is asked and waits (`call`); after `start`, commands are sent while a thread reads the
 * replies, which belong to the commands in their order.
 */
final class Connection implements Closeable {
  /** What is told, in the task's thread, when a command has been answered. */
  interface Answered {
    /** @param error null: Redis took it */
    void answered(Connection connection, Entry entry, RedisError error, long atMs) throws IOException;
  }

  /** So many replies that are no error, then an error unless it is null. */
  private record Answers(int plain, RedisError error, long atMs) {}

  private static final byte[] ASKING = RespBuffer.command("ASKING");
  private static final Entry ASKED = new Entry(null); // its reply is no entry's
  private static final int SEND_BUFFER_BYTES = 1 << 20;
  private static final long NS_PER_MS = 1_000_000;

  final Address address;
  private final Socket plain; // under TLS: closing this one never waits
  private final Socket socket;
  private final ReplyReader reader;
  private final RespBuffer out = new RespBuffer(1 << 16);
  private final long timeoutMs;
  // Of the task's thread.
  private final ArrayDeque<Entry> unanswered = new ArrayDeque<>();
  private int unsent;
  // Between the threads.
  private final ConcurrentLinkedQueue<Answers> answers = new ConcurrentLinkedQueue<>();
  private volatile long sent, answered, busySinceNs;
  private volatile IOException failure;

  private Connection(Address address, ServerOptions options) throws IOException {
    this.address = address;
    timeoutMs = options.timeoutMs();
    plain = new Socket();
    try {
      plain.setTcpNoDelay(true);
      plain.setKeepAlive(true);
      plain.setSendBufferSize(SEND_BUFFER_BYTES);
      plain.setSoTimeout(options.timeoutMs());
      plain.connect(new InetSocketAddress(address.host(), address.port()), options.timeoutMs());
      socket = options.tls() ? Tls.over(plain, address, options.caFile()) : plain;
      reader = new ReplyReader(socket.getInputStream());
    } catch (IOException | RuntimeException error) {
      plain.close();
      throw error;
    }
  }

  /** Throws RefusedException when trying again is no use, else IOException. */
  static Connection open(Address address, ServerOptions options) throws IOException {
    var connection = bare(address, options);
    try {
      connection.greet(options);
      return connection;
    } catch (IOException | RuntimeException error) {
      connection.close();
      throw error;
    }
  }

  /** Without a user or a greeting. */
  static Connection bare(Address address, ServerOptions options) throws IOException {
    return new Connection(address, options);
  }

  private void greet(ServerOptions options) throws IOException {
    boolean known = authenticate(options);
    try {
      call("PING");
    } catch (RefusedException error) {
      if (known || options.passwordVariable() == null) throw error;
      throw new RefusedException(
          error.getMessage() + " (variable " + options.passwordVariable() + " is not set where the job runs)");
    }
    if (options.db() > 0) call("SELECT", Integer.toString(options.db()));
  }

  /** Whether there is a password. */
  boolean authenticate(ServerOptions options) throws IOException {
    var secret = options.secret();
    if (secret == null) return false;
    if (options.username() == null) call("AUTH", secret);
    else call("AUTH", options.username(), secret);
    return true;
  }

  /** Asks and waits for the reply. An error that may pass is an IOException, any other a RefusedException. */
  Object call(Object... words) throws IOException {
    var reply = ask(words);
    if (!(reply instanceof RedisError error)) return reply;
    var message = "redis " + address + " refused " + words[0] + ": " + error.message();
    throw error.passes() || error.moved() ? new IOException(message) : new RefusedException(message);
  }

  /** Asks and waits for the reply, which may be an error. */
  Object ask(Object... words) throws IOException {
    socket.getOutputStream().write(RespBuffer.command(words));
    return reader.read();
  }

  /** From here on replies are read by a thread, which gives the signal when some have come. */
  void start(Signal signal) throws IOException {
    plain.setSoTimeout((int) Math.max(1, timeoutMs / 4));
    reader.silence = this::checkSilence;
    var thread = new Thread(() -> read(signal), "redis-replies " + address);
    thread.setDaemon(true);
    thread.start();
  }

  private void read(Signal signal) {
    try {
      while (true) {
        int plainReplies = 0;
        RedisError error = null;
        do {
          if (reader.read() instanceof RedisError found) error = found;
          else plainReplies++;
        } while (error == null && reader.buffered());
        answers.add(new Answers(plainReplies, error, System.currentTimeMillis()));
        answered += plainReplies + (error == null ? 0 : 1); // written by this thread alone
        busySinceNs = System.nanoTime();
        signal.give();
      }
    } catch (IOException | RuntimeException error) {
      fail(error instanceof IOException io ? io : new IOException("the reply is no RESP", error));
      signal.give();
    }
  }

  private void checkSilence() throws IOException {
    if (sent > answered && System.nanoTime() - busySinceNs > timeoutMs * NS_PER_MS)
      throw new SocketTimeoutException("Redis did not answer within " + timeoutMs + " ms");
  }

  private void fail(IOException error) {
    if (failure == null) failure = error;
    close(); // a write that waits ends
  }

  /** Appends the entry's next change to what `flush` sends. */
  void add(Entry entry, boolean asking) {
    if (asking) {
      out.append(ASKING);
      unanswered.add(ASKED);
      unsent++;
    }
    entry.take().writeTo(out);
    unanswered.add(entry);
    unsent++;
  }

  /** Sends what was added. A failure shows in `failure`. */
  void flush() {
    if (unsent == 0) return;
    if (sent == answered) busySinceNs = System.nanoTime();
    sent += unsent; // written by the task's thread alone
    unsent = 0;
    try {
      out.drainTo(socket.getOutputStream());
    } catch (IOException error) {
      fail(error);
    }
  }

  /** Whether no reply is outstanding. */
  boolean isIdle() {
    return unanswered.size() == unsent;
  }

  int outBytes() {
    return out.size();
  }

  IOException failure() {
    return failure;
  }

  /** Tells about each command that has been answered since the last time. */
  void drain(Answered told) throws IOException {
    for (Answers each; (each = answers.poll()) != null; ) {
      for (int i = 0; i < each.plain; i++) tell(told, null, each.atMs);
      if (each.error != null) tell(told, each.error, each.atMs);
    }
  }

  private void tell(Answered told, RedisError error, long atMs) throws IOException {
    var entry = unanswered.poll();
    if (entry == null) fail(new IOException("Redis answered more than it was asked"));
    else if (entry != ASKED) told.answered(this, entry, error, atMs);
  }

  /** Of a connection that failed: what was not answered, in its order. */
  List<Entry> unanswered() {
    var entries = new ArrayList<>(unanswered);
    entries.removeIf(entry -> entry == ASKED);
    unanswered.clear();
    return entries;
  }

  @Override
  public void close() {
    try {
      plain.close();
    } catch (IOException alreadyGone) {
      // nothing is left to close
    }
  }
}
