package headrace.redis;

import java.io.IOException;
import java.util.List;

/** Which node a key is written to. */
interface Topology {
  /** The node of a key. It may ask Redis. */
  Address node(byte[] key) throws IOException;

  /** All nodes to which keys are written. */
  List<Address> masters() throws IOException;

  /** Something changed: ask again before the next answer. */
  void doubt();

  /** A node said that the keys of a slot are elsewhere. */
  default void moved(RedisError error, Address said) throws IOException {
    throw new RefusedException(
        "redis " + said + " is a node of a cluster: 'mode' must be 'cluster'; it said " + error.message());
  }

  static Topology of(ServerOptions options) {
    return switch (options.mode()) {
      case STANDALONE -> new Standalone(options.nodes().get(0));
      case SENTINEL -> new Sentinel(options);
      case CLUSTER -> new Cluster(options);
    };
  }

  /** One server, for ever. */
  record Standalone(Address server) implements Topology {
    @Override
    public Address node(byte[] key) {
      return server;
    }

    @Override
    public List<Address> masters() {
      return List.of(server);
    }

    @Override
    public void doubt() {
      // there is no other
    }
  }
}
