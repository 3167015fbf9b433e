package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A Redis that ends, hangs, is full, refuses or cuts connections: what was taken is written, in order. */
class RedisOutagesTest {
  private static final String STRINGS = "key STRING, value STRING";
  private static final String NO_LINGER = "linger-ms=0";
  @TempDir Path folder;
  private RedisServer redis;

  @BeforeEach
  void start() throws Exception {
    redis = new RedisServer(folder);
  }

  @AfterEach
  void stop() throws Exception {
    redis.close();
  }

  private static CompletableFuture<Object> later(long ms, Callable<Object> what) {
    return CompletableFuture.supplyAsync(
        () -> {
          try {
            Thread.sleep(ms);
            return what.call();
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        });
  }

  private static void writeAll(RowWriter writer, String value) throws Exception {
    for (int i = 0; i < 500; i++) writer.write("k" + i, value + i);
  }

  private void assertAll(String value) throws Exception {
    for (int i = 0; i < 500; i++) assertEquals(value + i, redis.text("GET", "k" + i));
  }

  @Test
  void whatWasNotAnsweredIsSentAgainAfterARestart() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "buffer=200")) {
      redis.signal("STOP");
      writeAll(writer, "old ");
      for (int i = 0; i < 50; i++) writer.write("k" + i, "new " + i);
      redis.kill();
      var restarted =
          later(300, () -> {
            redis.start();
            return null;
          });
      writer.flush();
      restarted.join();
    }
    for (int i = 0; i < 500; i++) assertEquals((i < 50 ? "new " : "old ") + i, redis.text("GET", "k" + i));
  }

  @Test
  void connectionsThatAreCutLoseNothingAndKeepTheOrderOfAKey() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "buffer=20")) {
      var random = new Random(7);
      long seen = 0;
      for (int i = 1; i <= 5_000; i++) {
        writer.write("k" + i % 50, "" + i);
        writer.write("hot", "" + i);
        if (random.nextInt(200) == 0) redis.call("CLIENT", "KILL", "TYPE", "normal");
        if (i % 100 == 0) {
          var value = redis.text("GET", "hot");
          assertTrue(value == null || Long.parseLong(value) >= seen, value + " after " + seen);
          seen = value == null ? 0 : Long.parseLong(value);
        }
      }
      writer.flush();
    }
    assertEquals("5000", redis.text("GET", "hot"));
    for (int i = 4_951; i <= 5_000; i++) assertEquals("" + i, redis.text("GET", "k" + i % 50));
  }

  @Test
  void aRedisThatHangsIsConnectedToAgain() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "timeout-ms=100")) {
      redis.call("CLIENT", "PAUSE", "600");
      writeAll(writer, "a");
      writer.flush();
      assertAll("a");
      redis.call("CLIENT", "PAUSE", "300", "WRITE");
      writeAll(writer, "b");
      writer.flush();
      assertAll("b");
    }
  }

  @Test
  void aReplyThatDoesNotComeEndsItsConnection() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "timeout-ms=100")) {
      redis.signal("STOP");
      writer.write("k", "v");
      for (int i = 0; i < 1_000 && !writer.metrics.gauge("connections").equals(0); i++) {
        Thread.sleep(5);
        writer.tick();
      }
      assertEquals(0, writer.metrics.gauge("connections"));
      redis.signal("CONT");
      writer.flush();
    }
    assertEquals("v", redis.text("GET", "k"));
  }

  @Test
  void aRedisThatHangsWhileALotIsOnItsWayHoldsNothingUpForEver() throws Exception {
    var large = "x".repeat(1_000_000);
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "timeout-ms=300", "buffer-bytes=100000000")) {
      redis.signal("STOP");
      var goesOn =
          later(800, () -> {
            redis.signal("CONT");
            return null;
          });
      for (int i = 0; i < 50; i++) writer.write("k" + i, large + i);
      writer.flush();
      goesOn.join();
    }
    for (int i = 0; i < 50; i++) assertEquals(large.length() + ("" + i).length(), redis.number("STRLEN", "k" + i));
  }

  @Test
  void whileRedisIsSlowTheNewestValueReplacesWhatWaits() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, NO_LINGER, "timeout-ms=10000")) {
      redis.signal("STOP");
      for (int i = 1; i <= 1_000; i++) writer.write("k" + i % 10, "" + i);
      redis.signal("CONT");
      writer.flush();
      assertEquals(11, writer.metrics.count("written")); // the first, then the newest of each key
    }
    assertEquals("1000", redis.text("GET", "k0"));
    assertEquals("991", redis.text("GET", "k1"));
  }

  @Test
  void aRedisThatStaysAwayFailsTheJobWithItsName() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, "retry-ms=300")) {
      redis.kill();
      var error = assertThrows(IOException.class, () -> {
        writeAll(writer, "v");
        writer.flush();
      });
      assertTrue(error.getMessage().contains("127.0.0.1:" + redis.port), error.getMessage());
      assertTrue(error.getMessage().contains("away"), error.getMessage());
    }
    assertThrows(IOException.class, () -> new RowWriter(redis, STRINGS, "retry-ms=300"));
  }

  @Test
  void passwordsAreAskedForAndAWrongOneFailsAtOnce() throws Exception {
    redis.call("CONFIG", "SET", "requirepass", "of Redis");
    var none = assertThrows(RefusedException.class, () -> new RowWriter(redis, STRINGS));
    assertTrue(none.getMessage().contains("NOAUTH"), none.getMessage());
    var wrong = assertThrows(RefusedException.class, () -> new RowWriter(redis, STRINGS, "password=wrong"));
    assertTrue(wrong.getMessage().contains("WRONGPASS"), wrong.getMessage());
    var unset =
        assertThrows(RefusedException.class, () -> new RowWriter(redis, STRINGS, "password-variable=NOT_SET_HERE"));
    assertTrue(unset.getMessage().contains("NOT_SET_HERE is not set"), unset.getMessage());
    var file = java.nio.file.Files.writeString(folder.resolve("password"), "of Redis\n");
    try (var writer = new RowWriter(redis, STRINGS, "password-file=" + file)) {
      writer.write("k", "v");
      writer.flush();
      assertEquals(1, writer.metrics.count("written"));
    }
  }

  @Test
  void aFullRedisIsTriedAgain() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS)) {
      redis.call("CONFIG", "SET", "maxmemory", "1");
      writeAll(writer, "v");
      var freed = later(300, () -> redis.call("CONFIG", "SET", "maxmemory", "0"));
      writer.flush();
      freed.join();
      assertEquals(500, writer.metrics.count("written"));
      assertEquals(0, writer.metrics.count("set_aside"));
    }
    assertAll("v");
  }

  @Test
  void aRedisThatStaysFullCostsTheValuesAlone() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS, "retry-ms=200")) {
      redis.call("CONFIG", "SET", "maxmemory", "1");
      writeAll(writer, "lost ");
      writer.flush();
      assertEquals(500, writer.metrics.count("OOM set_aside_of_kind"));
      redis.call("CONFIG", "SET", "maxmemory", "0");
      writeAll(writer, "v");
      writer.flush();
    }
    assertAll("v");
  }

  @Test
  void aReplicaIsTriedUntilItIsTheMaster() throws Exception {
    try (var writer = new RowWriter(redis, STRINGS)) {
      redis.call("REPLICAOF", "127.0.0.1", "1");
      writeAll(writer, "v");
      var promoted = later(300, () -> redis.call("REPLICAOF", "NO", "ONE"));
      writer.flush();
      promoted.join();
      assertEquals(500, writer.metrics.count("written"));
    }
    assertAll("v");
  }

  @Test
  void aRedisBusyWithAScriptIsTriedAgain() throws Exception {
    redis.call("CONFIG", "SET", "busy-reply-threshold", "20");
    try (var writer = new RowWriter(redis, STRINGS)) {
      var script = later(0, () -> redis.call("EVAL", "while true do end", "0"));
      Thread.sleep(100);
      writeAll(writer, "v");
      var killed = later(300, () -> redis.bare("SCRIPT", "KILL"));
      writer.flush();
      killed.join();
      assertThrows(Exception.class, script::join);
    }
    assertAll("v");
  }

  @Test
  void aPermissionThatIsMissingForAKeyCostsThatKey() throws Exception {
    redis.call("ACL", "SETUSER", "shop", "on", ">word", "~ours:*", "+ping", "+set", "+unlink");
    try (var writer = new RowWriter(redis, STRINGS, "username=shop", "password=word")) {
      writer.write("ours:1", "v");
      writer.write("theirs:1", "v");
      writer.flush();
      assertEquals(1, writer.metrics.count("NOPERM set_aside_of_kind"));
      assertEquals(1, writer.metrics.count("written"));
    }
  }
}
