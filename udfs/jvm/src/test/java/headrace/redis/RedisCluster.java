package headrace.redis;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Three nodes, a third of the slots each. */
final class RedisCluster implements AutoCloseable {
  private static final int[] FIRST = {0, 5_461, 10_923, Slots.COUNT};
  final List<RedisServer> nodes = new ArrayList<>();

  RedisCluster(Path folder) throws Exception {
    for (int i = 0; i < 3; i++) nodes.add(node(folder.resolve("node-" + i)));
    for (int i = 0; i < 3; i++) {
      nodes.get(i).call("CLUSTER", "ADDSLOTSRANGE", "" + FIRST[i], "" + (FIRST[i + 1] - 1));
      nodes.get(i).call("CLUSTER", "SET-CONFIG-EPOCH", "" + (i + 1));
    }
    for (int i = 1; i < 3; i++) nodes.get(0).call("CLUSTER", "MEET", "127.0.0.1", "" + nodes.get(i).port);
    for (var node : nodes) await(node, "CLUSTER", "INFO", "cluster_state:ok");
  }

  private static RedisServer node(Path folder) throws Exception {
    return new RedisServer(folder, "--cluster-enabled", "yes", "--cluster-node-timeout", "500");
  }

  private static void await(RedisServer node, String command, String about, String wanted) throws Exception {
    for (int i = 0; i < 1_000; i++) {
      if (node.text(command, about).contains(wanted)) return;
      Thread.sleep(10);
    }
    throw new IOException(wanted + " did not come");
  }

  /** A new node that follows the first one. */
  RedisServer replica(Path folder) throws Exception {
    var replica = node(folder);
    var master = nodes.get(0);
    replica.call("CLUSTER", "MEET", "127.0.0.1", "" + master.port);
    var id = master.text("CLUSTER", "MYID");
    await(replica, "CLUSTER", "NODES", id);
    await(replica, "CLUSTER", "INFO", "cluster_state:ok");
    replica.call("CLUSTER", "REPLICATE", id);
    await(replica, "INFO", "replication", "master_link_status:up");
    for (var node : nodes) await(node, "CLUSTER", "NODES", "slave " + id);
    return replica;
  }

  /** @param options as RowWriter's; one node is named */
  Map<String, String> reached(String... options) {
    var all = new ArrayList<>(List.of(options));
    all.add("mode=cluster");
    return RowWriter.with(nodes.get(0), all.toArray(String[]::new));
  }

  /** Asks the node that has the key. */
  Object call(String key, Object... words) throws IOException {
    for (var node : nodes) {
      try (var connection = Connection.bare(node.address(), new RedisOptions(reached()).server())) {
        var reply = connection.ask(words);
        if (!(reply instanceof RedisError error)) return reply;
        if (!error.moved()) throw new IOException(error.message());
      }
    }
    throw new IOException("no node has " + key);
  }

  String get(String key) throws IOException {
    return call(key, "GET", key) instanceof byte[] value ? new String(value, StandardCharsets.UTF_8) : null;
  }

  RedisServer ownerOf(String key) {
    int slot = Slots.of(key.getBytes(StandardCharsets.UTF_8));
    for (int i = 0; i < 3; i++) if (slot < FIRST[i + 1]) return nodes.get(i);
    throw new IllegalStateException();
  }

  @Override
  public void close() throws Exception {
    for (var node : nodes) node.close();
  }
}
