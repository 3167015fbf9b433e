package headrace.redis;

import headrace.redis.ServerOptions.Mode;
import headrace.redis.WriteOptions.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.factories.FactoryUtil;

/** The options of a table, checked. An error names the option, the rule and the value; a password is in none. */
final class RedisOptions {
  static final Set<ConfigOption<?>> ALL = new LinkedHashSet<>();
  private static final String MODE = text("mode"), HOST = text("host"), PORT = text("port"), NODES = text("nodes");
  private static final String MASTER = text("master"), USERNAME = text("username"), PASSWORD = text("password");
  private static final String PASSWORD_VARIABLE = text("password-variable"), PASSWORD_FILE = text("password-file");
  private static final String TLS = text("tls"), CA_FILE = text("ca-file"), DB = text("db");
  private static final String TIMEOUT_MS = text("timeout-ms"), RETRY_MS = text("retry-ms"), COMMAND = text("command");
  private static final String MAX_MEMBERS = text("max-members"), LINGER_MS = text("linger-ms"), BUFFER = text("buffer");
  private static final String BUFFER_BYTES = text("buffer-bytes"), KEY_PREFIX = text("key-prefix");
  private static final String OWNER = text("owner"), IF_ABSENT = text("if-absent");
  private static final long LONGEST_MS = 3_600_000, MOST_KEYS = 10_000_000, MOST_BYTES = 1L << 30, MOST_DB = 1_000_000;
  private static final long DEFAULT_PORT = 6379;

  static {
    ALL.add(FactoryUtil.SINK_PARALLELISM);
  }

  private final Map<String, String> given;

  RedisOptions(Map<String, String> given) {
    this.given = given;
  }

  private static String text(String name) {
    ALL.add(ConfigOptions.key(name).stringType().noDefaultValue());
    return name;
  }

  ServerOptions server() {
    var mode = oneOf(MODE, Mode.values(), Mode.STANDALONE);
    if (mode == Mode.SENTINEL) needed(MASTER, "the name of the master in 'mode' = 'sentinel'");
    else if (given.containsKey(MASTER)) throw bad(MASTER, "goes with 'mode' = 'sentinel' alone");
    boolean tls = oneOf(TLS, new Boolean[] {true, false}, false);
    if (given.containsKey(CA_FILE) && !tls) throw bad(CA_FILE, "goes with 'tls' = 'true' alone");
    long db = number(DB, 0, MOST_DB, 0);
    if (mode == Mode.CLUSTER && db != 0) throw bad(DB, "must be 0 in 'mode' = 'cluster'");
    checkPassword();
    return new ServerOptions(
        mode, nodes(mode), some(MASTER), some(USERNAME), some(PASSWORD), some(PASSWORD_VARIABLE), some(PASSWORD_FILE),
        tls, some(CA_FILE), (int) db, (int) number(TIMEOUT_MS, 1, LONGEST_MS, 5_000),
        number(RETRY_MS, 0, 24 * LONGEST_MS, 60_000));
  }

  private void checkPassword() {
    var ways = List.of(PASSWORD, PASSWORD_VARIABLE, PASSWORD_FILE).stream().filter(given::containsKey).toList();
    if (ways.size() > 1) throw new ValidationException("redis: only one option may be set of " + quoted(ways));
    if (given.containsKey(USERNAME) && ways.isEmpty())
      throw bad(USERNAME, "needs 'password', 'password-variable' or 'password-file'");
  }

  private List<Address> nodes(Mode mode) {
    if (given.containsKey(HOST) == given.containsKey(NODES))
      throw new ValidationException("redis: either option 'host' or option 'nodes' must be set, got "
          + (given.containsKey(HOST) ? "both" : "none"));
    if (given.containsKey(HOST)) {
      if (some(HOST).isBlank()) throw bad(HOST, "must not be empty");
      return List.of(new Address(some(HOST), (int) number(PORT, 1, 65_535, DEFAULT_PORT)));
    }
    if (given.containsKey(PORT)) throw bad(PORT, "goes with 'host'; in 'nodes' each has its own");
    var nodes = new ArrayList<Address>();
    for (var each : some(NODES).split(",", -1)) {
      var node = Address.parse(each.strip());
      if (node == null) throw bad(NODES, "must be host:port, several with commas between");
      nodes.add(node);
    }
    if (mode == Mode.STANDALONE && nodes.size() > 1) throw bad(NODES, "must be one server in 'mode' = 'standalone'");
    return List.copyOf(nodes);
  }

  WriteOptions writing() {
    var command = oneOf(COMMAND, Kind.values(), Kind.SET);
    if (command == Kind.ZADD) needed(MAX_MEMBERS, "how many members a key may have, for 'command' = 'ZADD'");
    else if (given.containsKey(MAX_MEMBERS)) throw bad(MAX_MEMBERS, "goes with 'command' = 'ZADD' alone");
    boolean ifAbsent = oneOf(IF_ABSENT, new Boolean[] {true, false}, false);
    if (ifAbsent && command == Kind.ZADD) throw bad(IF_ABSENT, "goes with 'command' = 'SET' and 'HSET'");
    var prefix = given.getOrDefault(KEY_PREFIX, "");
    if (given.containsKey(OWNER) && !some(OWNER).matches("[!-~]{1,200}"))
      throw bad(OWNER, "must be 1 to 200 printable ASCII characters without a space");
    return new WriteOptions(
        command, number(MAX_MEMBERS, 1, 1L << 32, 0), ifAbsent, number(LINGER_MS, 0, LONGEST_MS, 5),
        (int) number(BUFFER, 1, MOST_KEYS, 2_000), number(BUFFER_BYTES, 1, MOST_BYTES, 16 << 20), prefix, some(OWNER));
  }

  Integer parallelism() {
    return given.containsKey(FactoryUtil.SINK_PARALLELISM.key())
        ? (Integer) (int) number(FactoryUtil.SINK_PARALLELISM.key(), 1, 1 << 15, 1)
        : null;
  }

  private String some(String option) {
    return given.get(option);
  }

  private void needed(String option, String why) {
    if (!given.containsKey(option) || some(option).isBlank())
      throw new ValidationException("redis: option '" + option + "' must be set: " + why);
  }

  private long number(String option, long least, long most, long otherwise) {
    if (!given.containsKey(option)) return otherwise;
    var rule = "must be a whole number from " + least + " to " + most;
    if (!some(option).matches("-?\\d{1,18}")) throw bad(option, rule);
    long number = Long.parseLong(some(option));
    if (number < least || number > most) throw bad(option, rule);
    return number;
  }

  private <T> T oneOf(String option, T[] values, T otherwise) {
    if (!given.containsKey(option)) return otherwise;
    for (var value : values) if (value.toString().equalsIgnoreCase(some(option))) return value;
    throw bad(option, "must be one of " + quoted(Arrays.asList(values)));
  }

  private static String quoted(List<?> values) {
    return "'" + String.join("', '", values.stream().map(value -> shown(value)).toList()) + "'";
  }

  private static String shown(Object value) {
    return value instanceof Kind ? value.toString() : value.toString().toLowerCase();
  }

  private ValidationException bad(String option, String rule) {
    return new ValidationException("redis: option '" + option + "' " + rule + ", got '" + some(option) + "'");
  }
}
