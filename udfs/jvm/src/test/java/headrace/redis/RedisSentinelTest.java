package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A master that dies: what it did not answer goes to the one that sentinels promote. */
class RedisSentinelTest {
  @TempDir Path folder;

  @Test
  void theWriterFollowsTheMaster() throws Exception {
    try (var master = new RedisServer(folder.resolve("master"));
        var replica =
            new RedisServer(folder.resolve("replica"), "--replicaof", "127.0.0.1 " + master.port);
        var sentinel = RedisServer.sentinel(folder.resolve("sentinel"), master)) {
      while (!((String) sentinel.text("INFO", "sentinel")).contains("slaves=1")) Thread.sleep(20);
      while (!replica.text("INFO", "replication").contains("master_link_status:up")) Thread.sleep(20);
      var options = new String[] {"mode=sentinel", "master=shop", "nodes=127.0.0.1:1, 127.0.0.1:" + sentinel.port};
      try (var writer = new RowWriter("key STRING, value STRING", 0, 1, RowWriter.with(master, options))) {
        writer.write("k", "before");
        writer.flush();
        master.kill();
        writer.write("k", "after");
        writer.write("more", "after");
        writer.flush();
      }
      assertEquals("after", replica.text("GET", "k"));
      assertEquals("after", replica.text("GET", "more"));
    }
  }

  @Test
  void aSentinelThatAsksForThePasswordGetsIt() throws Exception {
    try (var master = new RedisServer(folder.resolve("master"));
        var sentinel = RedisServer.sentinel(folder.resolve("sentinel"), master)) {
      master.call("CONFIG", "SET", "requirepass", "word");
      sentinel.call("ACL", "SETUSER", "default", "resetpass", ">word");
      var options =
          RowWriter.with(master, "mode=sentinel", "master=shop", "password=word", "nodes=127.0.0.1:" + sentinel.port);
      try (var writer = new RowWriter("key STRING, value STRING", 0, 1, options)) {
        writer.write("k", "v");
        writer.flush();
        assertEquals(1, writer.metrics.count("written"));
      }
    }
  }

  @Test
  void aMasterThatNoSentinelKnowsIsNamed() throws Exception {
    try (var master = new RedisServer(folder.resolve("master"));
        var sentinel = RedisServer.sentinel(folder.resolve("sentinel"), master)) {
      var options =
          RowWriter.with(master, "mode=sentinel", "master=other", "retry-ms=100", "nodes=127.0.0.1:" + sentinel.port);
      var error =
          assertThrows(java.io.IOException.class, () -> new RowWriter("key STRING, value STRING", 0, 1, options));
      assertTrue(error.getCause().getMessage().contains("'other'"), error.getCause().getMessage());
    }
  }
}
