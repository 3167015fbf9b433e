package headrace.redis;

import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;

/** A redis-server of a test, on a port of its own, with its files in a folder of its own. */
final class RedisServer implements AutoCloseable {
  private static final long START_MS = 10_000;
  final int port;
  private final List<String> command;
  private final ServerOptions reached;
  private Process process;

  RedisServer(Path folder, String... options) throws Exception {
    this(folder, freePort(), Map.of(), options);
  }

  /** @param reached options of the connector by which the test itself reaches it */
  RedisServer(Path folder, int port, Map<String, String> reached, String... options) throws Exception {
    this(port, reached, command(folder, port, options));
  }

  private RedisServer(int port, Map<String, String> reached, List<String> command) throws Exception {
    this.port = port;
    this.command = command;
    var all = new HashMap<>(Map.of("host", "127.0.0.1", "port", "" + port));
    all.putAll(reached);
    this.reached = new RedisOptions(all).server();
    start();
  }

  private static List<String> command(Path folder, int port, String... options) throws IOException {
    Files.createDirectories(folder);
    var command = new ArrayList<>(List.of("redis-server", "--port", "" + port));
    command.addAll(List.of("--dir", folder.toString(), "--save", "", "--repl-diskless-sync-delay", "0"));
    command.addAll(List.of(options));
    return command;
  }

  /** One that watches a master named `shop`, and fails over on its own. */
  static RedisServer sentinel(Path folder, RedisServer master) throws Exception {
    int port = freePort();
    var lines = List.of(
        "port " + port, "dir " + Files.createDirectories(folder),
        "sentinel monitor shop 127.0.0.1 " + master.port + " 1",
        "sentinel down-after-milliseconds shop 300", "sentinel failover-timeout shop 2000");
    var file = Files.write(folder.resolve("sentinel.conf"), lines);
    return new RedisServer(port, Map.of(), List.of("redis-server", file.toString(), "--sentinel"));
  }

  /** One below those that outgoing connections take; a cluster's node also needs the one 10,000 above. */
  static int freePort() {
    while (true) {
      int port = ThreadLocalRandom.current().nextInt(10_000, 22_000);
      if (isFree(port) && isFree(port + 10_000)) return port;
    }
  }

  private static boolean isFree(int port) {
    try (var socket = new ServerSocket(port)) {
      return true;
    } catch (IOException taken) {
      return false;
    }
  }

  void start() throws Exception {
    process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(Redirect.DISCARD).start();
    long end = System.currentTimeMillis() + START_MS;
    while (true) {
      try {
        call("PING");
        return;
      } catch (IOException notYet) {
        if (System.currentTimeMillis() > end || !process.isAlive()) throw notYet;
        Thread.sleep(10);
      }
    }
  }

  Address address() {
    return new Address("127.0.0.1", port);
  }

  /** Runs one command by a connection of its own. */
  Object call(Object... words) throws IOException {
    try (var connection = Connection.open(address(), reached)) {
      return connection.call(words);
    }
  }

  /** The same where PING gets no answer that pleases. */
  Object bare(Object... words) throws IOException {
    try (var connection = Connection.bare(address(), reached)) {
      return connection.call(words);
    }
  }

  String text(Object... words) throws IOException {
    return call(words) instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : null;
  }

  long number(Object... words) throws IOException {
    return (Long) call(words);
  }

  void signal(String name) throws Exception {
    new ProcessBuilder("kill", "-" + name, "" + process.pid()).start().waitFor();
  }

  void kill() throws Exception {
    process.destroyForcibly().waitFor();
  }

  @Override
  public void close() throws Exception {
    kill();
  }
}
