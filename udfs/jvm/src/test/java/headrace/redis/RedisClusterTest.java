package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A cluster of three: each key goes to its node, also while slots move and nodes restart. */
class RedisClusterTest {
  private static final String STRINGS = "key STRING, value STRING";
  @TempDir static Path folder;
  private static RedisCluster cluster;

  @BeforeAll
  static void start() throws Exception {
    cluster = new RedisCluster(folder);
  }

  @AfterAll
  static void stop() throws Exception {
    cluster.close();
  }

  private static RowWriter writer(String columns, String... options) throws Exception {
    return new RowWriter(columns, 0, 1, cluster.reached(options));
  }

  @Test
  void keysGoToTheirNodes() throws Exception {
    try (var writer = writer(STRINGS, "key-prefix=spread:")) {
      for (int i = 0; i < 1_000; i++) writer.write((i % 2 == 0 ? "{tag}" : "") + i, "v" + i);
      writer.flush();
      assertEquals(1_000, writer.metrics.count("written"));
      assertEquals(3, writer.metrics.gauge("connections"));
    }
    for (int i = 0; i < 1_000; i++) assertEquals("v" + i, cluster.get("spread:" + (i % 2 == 0 ? "{tag}" : "") + i));
  }

  @Test
  void slotsAreThoseOfRedis() throws Exception {
    var random = new Random(3);
    for (int i = 0; i < 300; i++) {
      var key = new byte[random.nextInt(12)];
      for (int at = 0; at < key.length; at++) key[at] = (byte) "{}ab\u0000é".charAt(random.nextInt(6));
      assertEquals(cluster.nodes.get(0).number("CLUSTER", "KEYSLOT", key), Slots.of(key));
    }
  }

  @Test
  void aNodeThatIsWrittenToAsAServerOfItsOwnIsNamed() throws Exception {
    var options = cluster.reached("linger-ms=0");
    options.remove("mode");
    try (var writer = new RowWriter(STRINGS, 0, 1, options)) {
      var error =
          assertThrows(
              RefusedException.class,
              () -> {
                for (int i = 0; i < 10; i++) writer.write("" + i, "v");
                writer.flush();
              });
      assertTrue(error.getMessage().contains("'mode' must be 'cluster'"), error.getMessage());
    }
  }

  @Test
  void sortedSetsAndHashesToo() throws Exception {
    long score = System.currentTimeMillis() + 100_000;
    try (var members = writer("key STRING, member STRING, score BIGINT", "command=ZADD", "max-members=9");
        var fields = writer("key STRING, field STRING, value STRING", "command=HSET")) {
      for (int i = 0; i < 100; i++) members.write("set-" + i, "item", score);
      for (int i = 0; i < 100; i++) fields.write("hash-" + i, "field", "v");
      members.flush();
      fields.flush();
      assertEquals(100, members.metrics.count("written"));
      assertEquals(100, fields.metrics.count("written"));
    }
    assertEquals(1L, cluster.call("set-7", "ZCARD", "set-7"));
  }

  @Test
  void slotsThatMoveTakeTheirKeysAlong() throws Exception {
    var from = cluster.ownerOf("{slot}");
    var to = cluster.nodes.get((cluster.nodes.indexOf(from) + 1) % 3);
    var slot = "" + Slots.of("slot".getBytes(StandardCharsets.UTF_8));
    String fromId = from.text("CLUSTER", "MYID"), toId = to.text("CLUSTER", "MYID");
    try (var writer = writer(STRINGS)) {
      writeSlot(writer, "before ");
      to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
      from.call("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
      for (int i = 0; i < 50; i++) from.call("MIGRATE", "127.0.0.1", "" + to.port, "{slot}" + i, "0", "1000");
      writeSlot(writer, "during ");
      for (int i = 50; i < 100; i++) from.call("MIGRATE", "127.0.0.1", "" + to.port, "{slot}" + i, "0", "1000");
      for (var node : List.of(to, from)) node.call("CLUSTER", "SETSLOT", slot, "NODE", toId);
      assertEquals("during 7", to.text("GET", "{slot}7"));
      assertEquals("during 77", to.text("GET", "{slot}77"));
      writeSlot(writer, "after ");
      assertEquals(300, writer.metrics.count("written"));
      assertEquals(0, writer.metrics.count("set_aside"));
    }
    for (int i = 0; i < 100; i++) assertEquals("after " + i, to.text("GET", "{slot}" + i));
  }

  private static void writeSlot(RowWriter writer, String value) throws Exception {
    for (int i = 0; i < 100; i++) writer.write("{slot}" + i, value + i);
    writer.flush();
  }

  @Test
  void aNodeThatRestartsGetsWhatItDidNotAnswer() throws Exception {
    var node = cluster.nodes.get(2);
    try (var writer = writer(STRINGS, "key-prefix=restart:", "linger-ms=0")) {
      node.signal("STOP");
      for (int i = 0; i < 300; i++) writer.write("" + i, "v" + i);
      node.kill();
      var restarted =
          CompletableFuture.runAsync(
              () -> {
                try {
                  Thread.sleep(200);
                  node.start();
                } catch (Exception error) {
                  throw new IllegalStateException(error);
                }
              });
      writer.flush();
      restarted.join();
      assertEquals(300, writer.metrics.count("written"));
    }
    for (int i = 0; i < 300; i++) assertEquals("v" + i, cluster.get("restart:" + i));
  }

  @Test
  void aFenceHoldsOnEveryNode() throws Exception {
    try (var old = writer(STRINGS, "owner=fenced", "key-prefix=fence:")) {
      for (int i = 0; i < 100; i++) old.write("" + i, "old");
      old.flush();
      try (var successor = writer(STRINGS, "owner=fenced", "key-prefix=fence:")) {
        for (int i = 0; i < 100; i++) successor.write("" + i, "new");
        successor.flush();
        assertThrows(
            RefusedException.class,
            () -> {
              for (int i = 0; i < 100; i++) old.write("" + i, "older");
              old.flush();
            });
      }
    }
    for (int i = 0; i < 100; i++) assertEquals("new", cluster.get("fence:" + i));
  }

  @Test
  void aReplicaThatTakesOverGetsWhatItsMasterDidNotAnswer(@TempDir Path other) throws Exception {
    try (var failing = new RedisCluster(other);
        var replica = failing.replica(other.resolve("replica"));
        var writer = new RowWriter(STRINGS, 0, 1, failing.reached("linger-ms=0", "owner=failing"))) {
      var master = failing.nodes.get(0);
      for (int i = 0; i < 300; i++) writer.write("" + i, "before");
      writer.flush();
      master.kill();
      for (int i = 0; i < 300; i++) writer.write("" + i, "after");
      writer.flush();
      assertEquals(600, writer.metrics.count("written"));
      failing.nodes.set(0, replica);
      for (int i = 0; i < 300; i++) assertEquals("after", failing.get("" + i));
    }
  }
}
