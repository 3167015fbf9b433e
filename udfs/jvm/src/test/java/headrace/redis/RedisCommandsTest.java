package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;

/** What each kind of row does to a real Redis. */
class RedisCommandsTest extends OneRedisTest {
  private static final String STRINGS = "key STRING, value STRING, expire_at_ms BIGINT";
  private static final String FIELDS = "key STRING, field STRING, value BYTES";
  private static final String MEMBERS = "key STRING, member STRING, score BIGINT";
  private static final long FAR_MS = System.currentTimeMillis() + 3_600_000;

  @Test
  void setWritesStringsWithTheirExpiry() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, "key-prefix=shop:")) {
      writer.write("a", "1", FAR_MS);
      writer.write("b", "zwölf", null);
      writer.write("gone", "1", null);
      writer.flush();
      writer.write("gone", null, null);
      writer.flush();
      assertEquals(4, writer.metrics.count("written"));
    }
    assertEquals("1", redis.text("GET", "shop:a"));
    assertEquals(FAR_MS, redis.number("PEXPIRETIME", "shop:a"));
    assertEquals("zwölf", redis.text("GET", "shop:b"));
    assertEquals(-1, redis.number("PEXPIRETIME", "shop:b"));
    assertEquals(2, redis.number("DBSIZE"));
  }

  @Test
  void keysAndValuesAreAnyBytes() throws Exception {
    var key = new byte[] {0, '\r', '\n', (byte) 0xff, '$'};
    var value = new byte[300_000];
    Arrays.fill(value, (byte) '\n');
    try (var writer = new RowWriter(redis, "key BYTES, value BYTES")) {
      writer.write(key, value);
      writer.write(new byte[0], new byte[0]);
      writer.flush();
    }
    assertEquals(value.length, redis.number("STRLEN", key));
    assertEquals("", redis.text("GET", ""));
  }

  @Test
  void aRowWhoseTimeIsOverChangesNothing() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS)) {
      writer.write("live", "new", FAR_MS);
      writer.flush();
      writer.write("live", "old", System.currentTimeMillis() - 1);
      writer.write("live", null, System.currentTimeMillis() - 1);
      writer.flush();
      assertEquals(2, writer.metrics.count("expired"));
    }
    assertEquals("new", redis.text("GET", "live"));
  }

  @Test
  void ifAbsentLeavesWhatIsThere() throws Exception {
    redis.call("SET", "there", "newer");
    redis.call("HSET", "arms", "x", "newer");
    try (var strings = new RowWriter(redis, STRINGS, "if-absent=true");
        var fields = new RowWriter(redis, FIELDS, "command=HSET", "if-absent=true")) {
      strings.write("there", "old", FAR_MS);
      strings.write("lost", "old", FAR_MS);
      strings.write("for ever", "old", null);
      strings.write("there", null, null);
      strings.flush();
      fields.write("arms", "x", "old".getBytes());
      fields.write("arms", "y", "old".getBytes());
      fields.flush();
      assertEquals(3, strings.metrics.count("written"));
    }
    assertEquals("newer", redis.text("GET", "there"));
    assertEquals(FAR_MS, redis.number("PEXPIRETIME", "lost"));
    assertEquals("old", redis.text("GET", "for ever"));
    assertEquals("newer", redis.text("HGET", "arms", "x"));
    assertEquals("old", redis.text("HGET", "arms", "y"));
  }

  @Test
  void hsetWritesFields() throws Exception {
    try (var writer = new RowWriter(redis, FIELDS, "command=hset")) {
      writer.write("arms", "x", "1".getBytes());
      writer.write("arms", "y", "2".getBytes());
      writer.write("arms", "gone", "3".getBytes());
      writer.write("ar", "msx", "4".getBytes());
      writer.flush();
      writer.write("arms", "gone", null);
      writer.flush();
    }
    assertEquals("1", redis.text("HGET", "arms", "x"));
    assertEquals("4", redis.text("HGET", "ar", "msx"));
    assertEquals(2, redis.number("HLEN", "arms"));
  }

  @Test
  void zaddKeepsTheHighestScoreTheMostMembersAndTheLastExpiry() throws Exception {
    try (var writer = new RowWriter(redis, MEMBERS, "command=ZADD", "max-members=3")) {
      for (int i = 0; i < 5; i++) writer.write("hidden", "item-" + i, FAR_MS + i);
      writer.write("hidden", "item-4", FAR_MS - 10);
      writer.flush();
      writer.write("hidden", "item-3", FAR_MS - 10);
      writer.write("hidden", "item-2", FAR_MS + 20);
      writer.flush();
    }
    assertEquals(3, redis.number("ZCARD", "hidden"));
    assertEquals(FAR_MS + 4, Long.parseLong(redis.text("ZSCORE", "hidden", "item-4")));
    assertEquals(FAR_MS + 3, Long.parseLong(redis.text("ZSCORE", "hidden", "item-3")));
    assertEquals(FAR_MS + 20, Long.parseLong(redis.text("ZSCORE", "hidden", "item-2")));
    assertEquals(FAR_MS + 20, redis.number("PEXPIRETIME", "hidden"));
  }

  @Test
  void thousandsOfMembersOfAKeyGoInOneCommand() throws Exception {
    try (var writer = new RowWriter(redis, MEMBERS, "command=ZADD", "max-members=20000", "linger-ms=1000000")) {
      for (int i = 0; i < 12_345; i++) writer.write("many", "item-" + i, FAR_MS + i);
      writer.flush();
      assertEquals(1, writer.metrics.count("written"));
    }
    assertEquals(12_345, redis.number("ZCARD", "many"));
  }

  @Test
  void aDeletedRowRemovesItsKey() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS)) {
      writer.write("a", "1", null);
      var deleted = GenericRowData.ofKind(
          RowKind.DELETE, org.apache.flink.table.data.StringData.fromString("a"),
          org.apache.flink.table.data.StringData.fromString("1"), null);
      writer.write(deleted);
      writer.flush();
    }
    assertEquals(0, redis.number("DBSIZE"));
  }

  @Test
  void theNewestValueOfAKeyWinsWithinABuffer() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, "linger-ms=1000000")) {
      for (int i = 0; i < 1_000; i++) writer.write("k" + i % 10, "" + i, null);
      writer.flush();
      assertEquals(10, writer.metrics.count("written"));
    }
    assertEquals("999", redis.text("GET", "k9"));
  }

  @Test
  void theLingerSendsWithoutAFlush() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, "linger-ms=1")) {
      writer.write("a", "1", null);
      for (int i = 0; i < 1_000 && redis.text("GET", "a") == null; i++) writer.tick();
      assertEquals("1", redis.text("GET", "a"));
    }
  }

  @Test
  void latencyIsFromTheOldestRowOfAWrite() throws Exception {
    try (var writer = new RowWriter(redis, "key STRING, value STRING, as_of_ms BIGINT", "linger-ms=1000000")) {
      long nowMs = System.currentTimeMillis();
      writer.write("a", "1", nowMs - 50_000);
      writer.write("a", "2", nowMs);
      writer.write("b", "2", null);
      writer.flush();
      assertEquals(1, writer.metrics.latencies.getCount());
      assertTrue(writer.metrics.latencies.getStatistics().getMin() >= 50_000);
    }
  }

  @Test
  void manyKeysPassABufferOfFewBytes() throws Exception {
    var value = "x".repeat(1_000);
    try (var writer = new RowWriter(redis, STRINGS, "buffer=10", "buffer-bytes=5000")) {
      for (int i = 0; i < 2_000; i++) writer.write("k" + i, value + i, null);
      writer.flush();
      assertEquals(2_000, writer.metrics.count("written"));
    }
    assertEquals(value + 1_999, redis.text("GET", "k1999"));
    assertEquals(2_000, redis.number("DBSIZE"));
  }

  @Test
  void aKeyIsCopiedFromARowThatIsUsedAgain() throws Exception {
    try (var writer = new RowWriter(redis, "key BYTES, value BYTES", "linger-ms=1000000")) {
      var key = "k1".getBytes(StandardCharsets.US_ASCII);
      var value = "v1".getBytes(StandardCharsets.US_ASCII);
      writer.write(key, value);
      key[1] = '2';
      value[1] = '2';
      writer.write(key, value);
      writer.flush();
    }
    assertEquals("v1", redis.text("GET", "k1"));
    assertEquals("v2", redis.text("GET", "k2"));
  }
}
