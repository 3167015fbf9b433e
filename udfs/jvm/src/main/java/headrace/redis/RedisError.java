package headrace.redis;

import java.util.Set;

/** A reply that begins with a minus: a kind in capitals, then words for people. */
record RedisError(String kind, String message) {
  /** What passes by itself: the server starts, is full, is busy, or another becomes the master. */
  private static final Set<String> PASSING =
      Set.of("OOM", "READONLY", "LOADING", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MISCONF", "NOREPLICAS");
  /** What no other key would change. */
  private static final Set<String> REFUSED = Set.of("NOAUTH", "WRONGPASS");

  /** @param line without the minus */
  static RedisError parse(String line) {
    int end = line.indexOf(' ');
    var kind = end < 0 ? line : line.substring(0, end);
    return new RedisError(kind.matches("[A-Z]{2,20}") ? kind : "other", line);
  }

  boolean passes() {
    return PASSING.contains(kind) || message.startsWith("ERR max number of clients") || passesInScript();
  }

  /** Redis 6.2 has the script's words first. */
  private boolean passesInScript() {
    return message.startsWith("ERR Error running script") && PASSING.stream().anyMatch(message::contains);
  }

  boolean refused() {
    return REFUSED.contains(kind);
  }

  boolean moved() {
    return kind.equals("MOVED");
  }

  /** Whether another node of the cluster has to be asked. */
  boolean redirects() {
    return moved() || ask();
  }

  boolean ask() {
    return kind.equals("ASK");
  }

  /** Whether another server may be the one to write to. */
  boolean elsewhere() {
    return moved() || kind.equals("CLUSTERDOWN") || kind.equals("READONLY") || kind.equals("MASTERDOWN");
  }

  /** The slot of `MOVED 3999 127.0.0.1:6381`. */
  int slot() {
    return Integer.parseInt(message.split(" ")[1]);
  }

  /** The node of `MOVED 3999 127.0.0.1:6381`; without a host it is that of the node which said so. */
  Address node(Address said) {
    var place = message.split(" ")[2];
    int colon = place.lastIndexOf(':');
    var host = place.substring(0, colon);
    return new Address(host.isEmpty() || host.equals("?") ? said.host() : host,
        Integer.parseInt(place.substring(colon + 1)));
  }
}
