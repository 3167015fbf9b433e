package headrace.redis;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;

/** A node for each slot, as the cluster says. */
final class Cluster implements Topology {
  private static final long LEAST_NS = 200_000_000; // between two questions
  private final ServerOptions options;
  private final Address[] nodes = new Address[Slots.COUNT];
  private boolean known, doubted;
  private long askedNs;

  Cluster(ServerOptions options) {
    this.options = options;
  }

  @Override
  public Address node(byte[] key) throws IOException {
    refresh();
    int slot = Slots.of(key);
    if (nodes[slot] != null) return nodes[slot];
    doubt();
    throw new IOException("no node of the cluster has slot " + slot);
  }

  @Override
  public List<Address> masters() throws IOException {
    refresh();
    return Arrays.stream(nodes).filter(node -> node != null).distinct().toList();
  }

  @Override
  public void doubt() {
    doubted = true;
  }

  @Override
  public void moved(RedisError error, Address said) {
    if (error.ask()) return; // for one command alone
    nodes[error.slot()] = error.node(said);
    doubt();
  }

  private void refresh() throws IOException {
    if (known && (!doubted || System.nanoTime() - askedNs < LEAST_NS)) return;
    askedNs = System.nanoTime();
    var errors = new IOException("no node of the cluster answers: " + options.nodes());
    var candidates = new LinkedHashSet<>(options.nodes());
    for (var node : nodes) if (node != null) candidates.add(node);
    for (var candidate : candidates) {
      try (var connection = Connection.open(candidate, options)) {
        read((List<?>) connection.call("CLUSTER", "SLOTS"), candidate);
        known = true;
        doubted = false;
        return;
      } catch (RefusedException error) {
        throw error;
      } catch (IOException error) {
        errors.addSuppressed(error);
      }
    }
    throw errors;
  }

  /** @param ranges [first slot, last slot, [host, port, ...] of the master, replicas ...] */
  private void read(List<?> ranges, Address said) {
    Arrays.fill(nodes, null);
    for (var each : ranges) {
      var range = (List<?>) each;
      var master = (List<?>) range.get(2);
      var host = master.get(0) instanceof byte[] name ? new String(name, StandardCharsets.UTF_8) : "";
      int port = ((Long) master.get(1)).intValue();
      var node = new Address(host.isEmpty() || host.equals("?") ? said.host() : host, port);
      Arrays.fill(nodes, ((Long) range.get(0)).intValue(), ((Long) range.get(1)).intValue() + 1, node);
    }
  }
}
