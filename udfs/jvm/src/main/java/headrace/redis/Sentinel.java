package headrace.redis;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** The master that sentinels name. They are given the user and password if they ask for one. */
final class Sentinel implements Topology {
  private final ServerOptions options;
  private Address master; // null: ask

  Sentinel(ServerOptions options) {
    this.options = options;
  }

  @Override
  public Address node(byte[] key) throws IOException {
    if (master == null) master = ask();
    return master;
  }

  @Override
  public List<Address> masters() throws IOException {
    return List.of(node(null));
  }

  @Override
  public void doubt() {
    master = null;
  }

  private Address ask() throws IOException {
    var errors = new IOException("no sentinel of " + options.nodes() + " knows master '" + options.master() + "'");
    for (var sentinel : options.nodes()) {
      try (var connection = Connection.bare(sentinel, options)) {
        if (connection.ask("PING") instanceof RedisError error && error.refused()) connection.authenticate(options);
        if (connection.call("SENTINEL", "get-master-addr-by-name", options.master()) instanceof List<?> found)
          return new Address(text(found.get(0)), Integer.parseInt(text(found.get(1))));
      } catch (IOException error) {
        errors.addSuppressed(error);
      }
    }
    throw errors;
  }

  private static String text(Object bulk) {
    return new String((byte[]) bulk, StandardCharsets.UTF_8);
  }
}
