package headrace.redis;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The open connections, one to a node. A node that is away is tried again, with pauses that grow. */
final class Connections implements Closeable {
  private static final Logger LOG = LoggerFactory.getLogger(Connections.class);
  private static final long FIRST_PAUSE_MS = 20, LONGEST_PAUSE_MS = 1_000;

  /** How long a node, or the way to find it, has been away. */
  private static final class Outage {
    final long sinceMs;
    long pauseMs = FIRST_PAUSE_MS, lastMs, nextMs;

    Outage(long sinceMs) {
      this.sinceMs = sinceMs;
    }
  }

  private final ServerOptions options;
  private final Topology topology;
  private final Fence fence; // null: none
  private final Signal signal;
  private final Map<Address, Connection> open = new HashMap<>();
  private final Map<Object, Outage> outages = new HashMap<>(); // by Address, or the topology
  private volatile int count;

  Connections(ServerOptions options, Topology topology, Fence fence, Signal signal) {
    this.options = options;
    this.topology = topology;
    this.fence = fence;
    this.signal = signal;
  }

  /** Tries to connect to every node. True once all are connected. */
  boolean all() throws IOException {
    List<Address> nodes;
    if (isPaused(topology)) return false;
    try {
      nodes = topology.masters();
    } catch (IOException error) {
      away(topology, error);
      return false;
    }
    boolean all = true;
    for (var node : nodes) all &= to(node) != null;
    return all;
  }

  /** The connection for a key, or null while there is none. Throws when that has lasted too long. */
  Connection of(Key key) throws IOException {
    if (isPaused(topology)) return null;
    Address node;
    try {
      node = topology.node(key.name);
    } catch (IOException error) {
      away(topology, error);
      return null;
    }
    if (!outages.isEmpty()) outages.remove(topology);
    return to(node);
  }

  /** The connection to a node, as `of`. */
  Connection to(Address node) throws IOException {
    var connection = open.get(node);
    if (connection != null || isPaused(node)) return connection;
    try {
      connection = connect(node);
      open.put(node, connection);
      count = open.size();
      return connection;
    } catch (IOException error) {
      away(node, error);
      topology.doubt();
      return null;
    }
  }

  private Connection connect(Address node) throws IOException {
    var connection = Connection.open(node, options);
    try {
      if (fence != null) fence.admit(connection);
      connection.start(signal);
      return connection;
    } catch (IOException | RuntimeException error) {
      connection.close();
      throw error;
    }
  }

  private boolean isPaused(Object what) {
    var outage = outages.get(what);
    return outage != null && System.currentTimeMillis() < outage.nextMs;
  }

  private void away(Object what, IOException error) throws IOException {
    if (error instanceof RefusedException) throw error;
    long now = System.currentTimeMillis();
    outages.values().removeIf(each -> now - each.lastMs > options.retryMs() + LONGEST_PAUSE_MS); // of another time
    var outage = outages.computeIfAbsent(what, is -> new Outage(now));
    outage.lastMs = now;
    if (now - outage.sinceMs > options.retryMs())
      throw new IOException("redis " + options + " has been away for " + (now - outage.sinceMs) + " ms", error);
    outage.nextMs = now + outage.pauseMs;
    outage.pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * outage.pauseMs);
  }

  /** A reply has come from the node: it is there. */
  void isThere(Connection connection) {
    if (!outages.isEmpty()) outages.remove(connection.address);
  }

  /** Closes a connection that failed, and counts how long its node is away. */
  void lost(Connection connection) throws IOException {
    LOG.warn("redis {}: {}; connecting again", connection.address, connection.failure().toString());
    open.remove(connection.address);
    count = open.size();
    connection.close();
    topology.doubt();
    away(connection.address, connection.failure());
  }

  /** For any thread. */
  int count() {
    return count;
  }

  List<Connection> listed() {
    return new ArrayList<>(open.values());
  }

  @Override
  public void close() {
    open.values().forEach(Connection::close);
    open.clear();
    count = 0;
  }
}
