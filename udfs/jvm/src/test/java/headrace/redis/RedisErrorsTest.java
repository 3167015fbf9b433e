package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** An error costs the key that made it. */
class RedisErrorsTest extends OneRedisTest {
  private static final String FIELDS = "key STRING, field STRING, value BYTES";
  private static final String MEMBERS = "key STRING, member STRING, score BIGINT";
  private static final long FAR_MS = System.currentTimeMillis() + 3_600_000;

  @Test
  void aKeyThatCannotBeWrittenCostsThatKey() throws Exception {
    redis.call("LPUSH", "foreign", "theirs");
    try (var writer = new RowWriter(redis, MEMBERS, "command=ZADD", "max-members=3")) {
      writer.write("foreign", "item", FAR_MS);
      writer.write(null, "item", FAR_MS);
      writer.write("ours", null, FAR_MS);
      writer.write("ours", "item", null);
      writer.write("ours", "item", Long.MAX_VALUE);
      writer.write("ours", "item", FAR_MS);
      writer.flush();
      assertEquals(1, writer.metrics.count("WRONGTYPE set_aside_of_kind"));
      assertEquals(3, writer.metrics.count("null set_aside_of_kind"));
      assertEquals(1, writer.metrics.count("score set_aside_of_kind"));
      assertEquals(5, writer.metrics.count("set_aside"));
      assertEquals(1, writer.metrics.count("written"));
    }
    assertEquals("list", redis.call("TYPE", "foreign"));
    assertEquals(1, redis.number("ZCARD", "ours"));
  }

  @Test
  void errorsOfSomeKeysKeepRepliesInStep() throws Exception {
    for (int i = 0; i < 100; i += 7) redis.call("SET", "k" + i, "foreign");
    try (var writer = new RowWriter(redis, FIELDS, "command=HSET")) {
      for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) writer.write("k" + i, "field", ("" + round).getBytes());
        writer.flush();
      }
      assertEquals(45, writer.metrics.count("WRONGTYPE set_aside_of_kind"));
      assertEquals(255, writer.metrics.count("written"));
      assertEquals(0, writer.metrics.gauge("waiting"));
    }
    assertEquals("foreign", redis.text("GET", "k7"));
    assertEquals("2", redis.text("HGET", "k8", "field"));
  }

  @Test
  void kindsAreFew() {
    var metrics = new Readings();
    var setAside = new SetAside(metrics, () -> 0);
    for (int i = 0; i < 100; i++) setAside.add(null, "KIND" + (char) ('A' + i % 26) + (char) ('A' + i / 26), "message");
    assertEquals(100, metrics.count("set_aside"));
    assertEquals(70, metrics.count("other set_aside_of_kind"));
    assertEquals("other", RedisError.parse("no kind of ours").kind());
    assertEquals("WRONGTYPE", RedisError.parse("WRONGTYPE Operation").kind());
  }

  @Test
  void whatPassesIsToldFromWhatDoesNot() {
    assertTrue(RedisError.parse("LOADING Redis is loading the dataset in memory").passes());
    assertTrue(RedisError.parse("ERR max number of clients reached").passes());
    assertFalse(RedisError.parse("ERR syntax error").passes());
    var said = new Address("a", 1);
    assertEquals(new Address("127.0.0.1", 6381), RedisError.parse("MOVED 3999 127.0.0.1:6381").node(said));
    assertEquals(new Address("a", 6381), RedisError.parse("ASK 3999 :6381").node(said));
    assertEquals(new Address("::1", 6381), RedisError.parse("ASK 3999 ::1:6381").node(said));
    assertEquals(3_999, RedisError.parse("MOVED 3999 127.0.0.1:6381").slot());
  }
}
