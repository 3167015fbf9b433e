package headrace.redis;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

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
    this.port = port;
    var all = new java.util.HashMap<>(Map.of("host", "127.0.0.1", "port", "" + port));
    all.putAll(reached);
    this.reached = new RedisOptions(all).server();
    command = new ArrayList<>(List.of("redis-server"));
    Files.createDirectories(folder);
    var given = new ArrayList<>(List.of("--port", "" + port, "--dir", folder.toString(), "--save", ""));
    given.addAll(List.of(options));
    command.addAll(given);
    start();
  }

  static int freePort() throws IOException {
    while (true) {
      try (var socket = new ServerSocket(0)) {
        if (socket.getLocalPort() < 50_000) return socket.getLocalPort(); // a cluster adds 10,000
      }
    }
  }

  void start() throws Exception {
    process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
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
