package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.catalog.CatalogTable;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.ObjectIdentifier;
import org.apache.flink.table.catalog.ResolvedCatalogTable;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.catalog.UniqueConstraint;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What Flink asks when a statement is planned: every mistake is told before anything starts. */
class RedisTableFactoryTest {
  private static final String STRINGS = "key STRING, value STRING";
  @TempDir static Path folder;

  private static RedisTable table(String columns, List<String> primaryKey, String... options) {
    var resolved = new ArrayList<Column>();
    for (var column : columns.split(", ")) {
      var type = LogicalTypeParser.parse(column.split(" ", 2)[1], RedisTableFactoryTest.class.getClassLoader());
      resolved.add(Column.physical(column.split(" ", 2)[0], TypeConversions.fromLogicalToDataType(type)));
    }
    var key = primaryKey.isEmpty() ? null : UniqueConstraint.primaryKey("key", primaryKey);
    var all = new HashMap<>(Map.of("connector", "redis"));
    for (var option : options) all.put(option.split("=", 2)[0], option.split("=", 2)[1]);
    var schema = new ResolvedSchema(resolved, List.of(), key);
    var table =
        new ResolvedCatalogTable(
            CatalogTable.newBuilder().schema(Schema.newBuilder().fromResolvedSchema(schema).build()).options(all)
                .build(),
            schema);
    return (RedisTable)
        FactoryUtil.createDynamicTableSink(
            null, ObjectIdentifier.of("c", "d", "t"), table, Map.of(), new Configuration(),
            RedisTableFactoryTest.class.getClassLoader(), false);
  }

  private static String error(String columns, List<String> primaryKey, String... options) {
    Throwable error = assertThrows(Exception.class, () -> table(columns, primaryKey, options));
    while (error.getCause() != null) error = error.getCause();
    return error.getMessage();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "port=0; 'port' must be a whole number from 1 to 65535, got '0'",
        "port=65536; 'port' must be a whole number from 1 to 65535, got '65536'",
        "port=x; 'port' must be a whole number from 1 to 65535, got 'x'",
        "port=99999999999999999999; 'port' must be a whole number",
        "mode=ring; 'mode' must be one of 'standalone', 'sentinel', 'cluster', got 'ring'",
        "command=DEL; 'command' must be one of 'SET', 'HSET', 'ZADD', got 'DEL'",
        "tls=yes; 'tls' must be one of 'true', 'false', got 'yes'",
        "ca-file=x; 'ca-file' goes with 'tls' = 'true' alone, got 'x'",
        "db=-1; 'db' must be a whole number from 0",
        "timeout-ms=0; 'timeout-ms' must be a whole number from 1",
        "retry-ms=-1; 'retry-ms' must be a whole number from 0",
        "linger-ms=-1; 'linger-ms' must be a whole number from 0",
        "buffer=0; 'buffer' must be a whole number from 1",
        "buffer-bytes=0; 'buffer-bytes' must be a whole number from 1",
        "max-members=5; 'max-members' goes with 'command' = 'ZADD' alone, got '5'",
        "command=ZADD; 'max-members' must be set",
        "if-absent=yes; 'if-absent' must be one of 'true', 'false', got 'yes'",
        "owner=two words; 'owner' must be 1 to 200 printable ASCII characters without a space, got 'two words'",
        "mode=sentinel; 'master' must be set",
        "master=shop; 'master' goes with 'mode' = 'sentinel' alone, got 'shop'",
        "username=u; 'username' needs 'password', 'password-variable' or 'password-file', got 'u'",
        "sink.parallelism=0; 'sink.parallelism' must be a whole number from 1",
      })
  void anOptionIsNamedWithItsRuleAndItsValue(String option, String rule) {
    var message = error(STRINGS, List.of(), "host=h", option.strip());
    assertTrue(message.contains("redis: option " + rule.strip()), message);
  }

  @Test
  void optionsThatDoNotGoTogetherAreNamed() {
    assertTrue(error(STRINGS, List.of()).contains("either option 'host' or option 'nodes' must be set, got none"));
    assertTrue(error(STRINGS, List.of(), "host=h", "nodes=h:1").contains("got both"));
    assertTrue(error(STRINGS, List.of(), "nodes=h:1", "port=1").contains("'port' goes with 'host'"));
    assertTrue(error(STRINGS, List.of(), "nodes=h:1,i:1").contains("must be one server in 'mode' = 'standalone'"));
    assertTrue(error(STRINGS, List.of(), "mode=cluster", "nodes=h:1,,i:1").contains("must be host:port"));
    assertTrue(error(STRINGS, List.of(), "mode=cluster", "nodes=h").contains("must be host:port"));
    assertTrue(error(STRINGS, List.of(), "host=h", "mode=cluster", "db=1").contains("'db' must be 0"));
    var absent = error("key STRING, member STRING, score BIGINT", List.of(), "host=h", "command=ZADD", "max-members=1",
        "if-absent=true");
    assertTrue(absent.contains("'if-absent' goes with 'command' = 'SET' and 'HSET', got 'true'"), absent);
    assertTrue(error(STRINGS, List.of(), "host=h", "lingerms=1").contains("lingerms"));
    var two = error(STRINGS, List.of(), "host=h", "password=a", "password-file=b");
    assertTrue(two.contains("only one option may be set of 'password', 'password-file'"), two);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "SET; key STRING; needs a column 'value' STRING or BYTES, got the columns key",
        "SET; value STRING; needs a column 'key'",
        "SET; key INT, value STRING; column 'key' must be STRING or BYTES, got INT",
        "SET; key STRING, value INT; column 'value' must be STRING or BYTES, got INT",
        "SET; key STRING, value STRING, expire_at_ms INT; column 'expire_at_ms' must be BIGINT, got INT",
        "SET; key STRING, value STRING, ttl BIGINT; must be one of key, value, expire_at_ms, as_of_ms, got 'ttl'",
        "HSET; key STRING, value STRING; needs a column 'field'",
        "HSET; key STRING, field STRING, value STRING, expire_at_ms BIGINT; got 'expire_at_ms'",
        "ZADD; key STRING, member STRING; needs a column 'score' BIGINT",
        "ZADD; key STRING, member STRING, score DOUBLE; column 'score' must be BIGINT, got DOUBLE",
        "ZADD; key STRING, member STRING, score BIGINT, value STRING; must be one of key, member, score, as_of_ms",
      })
  void aColumnIsNamedWithItsRule(String command, String columns, String rule) {
    var options = new ArrayList<>(List.of("host=h", "command=" + command));
    if (command.equals("ZADD")) options.add("max-members=1");
    var message = error(columns.strip(), List.of(), options.toArray(String[]::new));
    assertTrue(message.contains(rule.strip()), message);
  }

  @Test
  void aPrimaryKeyMakesATableTakeUpdates() {
    assertEquals(ChangelogMode.insertOnly(), table(STRINGS, List.of(), "host=h").getChangelogMode(ChangelogMode.all()));
    var mode = table("key STRING NOT NULL, value STRING", List.of("key"), "host=h").getChangelogMode(null);
    assertTrue(mode.contains(RowKind.UPDATE_AFTER) && mode.contains(RowKind.DELETE));
    assertFalse(mode.contains(RowKind.UPDATE_BEFORE));
    var fields = "key STRING NOT NULL, field STRING NOT NULL, value STRING";
    var message = error(fields, List.of("key"), "host=h", "command=HSET");
    assertTrue(message.contains("the primary key for 'command' = 'HSET' must be field, key, got key"), message);
  }

  @Test
  void defaultsAreThoseOfTheDocument() throws Exception {
    var table = table(STRINGS, List.of(), "host=h", "password=secret word");
    assertEquals(List.of(new Address("h", 6379)), table.server().nodes());
    assertEquals("5 2000 16777216", table.options().lingerMs() + " " + table.options().buffer() + " "
        + table.options().bufferBytes());
    assertEquals("5000 60000", table.server().timeoutMs() + " " + table.server().retryMs());
    assertEquals("redis SET to standalone [h:6379]", table.asSummaryString());
    assertFalse((table.server() + table.asSummaryString() + table).contains("secret word"));
    assertEquals("secret word", table.server().secret());
  }

  @Test
  void theSinkTravelsWithoutTheSecret() throws Exception {
    var file = Files.writeString(folder.resolve("secret"), "secret word");
    var table = table(STRINGS, List.of(), "host=h", "password-file=" + file);
    assertEquals("secret word", table.server().secret());
    var bytes = InstantiationUtil.serializeObject(new RedisSink(table.columns(), table.server(), table.options()));
    assertFalse(new String(bytes, StandardCharsets.ISO_8859_1).contains("secret word"));
    var sink = (RedisSink) InstantiationUtil.deserializeObject(bytes, getClass().getClassLoader());
    assertEquals(table.server(), sink.server());
    assertEquals(table.options(), sink.options());
  }

  @Test
  void addressesMayBeOfVersionSix() {
    assertEquals(new Address("::1", 6379), Address.parse("[::1]:6379"));
    assertEquals("[::1]:6379", Address.parse("[::1]:6379").toString());
    for (var wrong : new String[] {"::1:6379", "h:", ":1", "h:0", "h:65536", "h", "[]:1", "h:1x"})
      assertEquals(null, Address.parse(wrong), wrong);
  }
}
