package headrace.redis;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

/**
 * Keeps a writer that has been replaced from writing (docs/flink-redis.md, "The fence").
 *
 * <p>A writer takes a number, greater than all before it. Each of its connections first carries that number in its
 * name, then looks whether a greater one was taken, then ends the connections of lower numbers. In this order a writer
 * that is replaced in between either sees the greater number, or its connection is seen and ended.
 */
final class Fence {
  /** The clock makes the number greater than those that a Redis which lost its keys has given. */
  private static final String TAKE =
      """
      local number = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') + 1, tonumber(ARGV[1]))
      redis.call('SET', KEYS[1], string.format('%.0f', number))
      return string.format('%.0f', number)
      """;
  private static final String NEWEST =
      """
      local number = redis.call('GET', KEYS[1])
      if not number or tonumber(number) < tonumber(ARGV[1]) then
        redis.call('SET', KEYS[1], ARGV[1])
        return ARGV[1]
      end
      return number
      """;
  private static final Pattern CLIENT = Pattern.compile("^id=(\\d+) .*?\\bname=(\\S*) ", Pattern.MULTILINE);
  private static final int MOST_MOVES = 5;
  private final Topology topology;
  private final ServerOptions options;
  private final String prefix; // of counters; a subtask follows
  private final int subtask, subtasks;
  private long number; // 0: not taken yet

  Fence(Topology topology, ServerOptions options, String owner, int subtask, int subtasks) {
    this.topology = topology;
    this.options = options;
    prefix = "writer:" + owner + ":";
    this.subtask = subtask;
    this.subtasks = subtasks;
  }

  /** Makes a new connection the writer's own. Throws RefusedException when a newer writer has taken over. */
  void admit(Connection connection) throws IOException {
    if (number == 0) take();
    connection.call("CLIENT", "SETNAME", prefix + subtask + "#" + number);
    long newest = Long.parseLong(atCounter(subtask, NEWEST, number));
    if (newest > number)
      throw new RefusedException(
          "a newer writer (number " + newest + ") has replaced this one (number " + number + ") as " + prefix + subtask
              + ": either this is an old attempt, or two sinks have the same 'owner'");
    end(connection);
  }

  private void take() throws IOException {
    long taken = Long.parseLong(atCounter(subtask, TAKE, System.currentTimeMillis()));
    if (subtask == 0) { // a job with more subtasks may have gone before
      for (int gone = subtasks; exists(gone); gone++) atCounter(gone, TAKE, System.currentTimeMillis());
    }
    number = taken;
  }

  private boolean exists(int index) throws IOException {
    return !atCounter(index, "return redis.call('GET', KEYS[1]) or ''", 0).isEmpty();
  }

  /** Runs a script at the node that has the counter. */
  private String atCounter(int index, String script, long argument) throws IOException {
    var key = RespBuffer.utf8(prefix + index);
    var node = topology.node(key);
    for (int moves = 0; moves < MOST_MOVES; moves++) {
      try (var connection = Connection.open(node, options)) {
        var reply = connection.ask("EVAL", script, "1", key, Long.toString(argument));
        if (reply instanceof byte[] text) return new String(text, StandardCharsets.US_ASCII);
        var error = (RedisError) reply;
        if (error.elsewhere()) topology.doubt();
        if (error.moved()) node = error.node(node);
        else throw failure(node, error);
      }
    }
    throw new IOException("the counter " + prefix + index + " moves from node to node");
  }

  private static IOException failure(Address node, RedisError error) {
    var message = "redis " + node + " refused the fence's EVAL: " + error.message();
    return error.passes() || error.ask() ? new IOException(message) : new RefusedException(message);
  }

  /** Ends connections of writers that this one has replaced, and what is left of its own former ones. */
  private void end(Connection connection) throws IOException {
    long own = (Long) connection.call("CLIENT", "ID");
    var clients = CLIENT.matcher(
        new String((byte[]) connection.call("CLIENT", "LIST", "TYPE", "normal"), StandardCharsets.UTF_8));
    while (clients.find())
      if (Long.parseLong(clients.group(1)) != own && isReplaced(clients.group(2)))
        kill(connection, clients.group(1));
  }

  private static void kill(Connection connection, String client) throws IOException {
    boolean refused = connection.ask("CLIENT", "KILL", "ID", client) instanceof RedisError error
        && !error.message().startsWith("ERR No such client"); // it may have gone by itself
    if (refused) throw new RefusedException("redis refused CLIENT KILL: without it a replaced writer could write");
  }

  private boolean isReplaced(String name) {
    if (!name.startsWith(prefix)) return false;
    var rest = name.substring(prefix.length());
    if (!rest.matches("\\d{1,9}#\\d{1,18}")) return false;
    int index = Integer.parseInt(rest.substring(0, rest.indexOf('#')));
    long its = Long.parseLong(rest.substring(rest.indexOf('#') + 1));
    return index == subtask ? its <= number : subtask == 0 && index >= subtasks;
  }
}
