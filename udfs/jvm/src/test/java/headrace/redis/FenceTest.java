package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** A writer that was replaced writes nothing more, wherever it was stopped. */
class FenceTest extends OneRedisTest {
  private static final String STRINGS = OldWriter.COLUMNS;
  private static final int SCHEDULES = 20;

  private static RowWriter writer(int subtask, int subtasks, String... more) throws Exception {
    var options = RowWriter.with(redis, more);
    options.put("owner", "job");
    return new RowWriter(STRINGS, subtask, subtasks, options);
  }

  private static void write(RowWriter writer, String key, String value) throws Exception {
    writer.write(key, value);
    writer.flush();
  }

  /** How many connections have a writer's name. */
  private static long named(String name) throws Exception {
    return redis.text("CLIENT", "LIST").lines().filter(line -> line.contains(" name=" + name)).count();
  }

  @Test
  void anOldAttemptThatWakesChangesNothingAndEnds() throws Exception {
    var java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    var classes = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    var process =
        new ProcessBuilder(java, "-XX:TieredStopAtLevel=1", "-cp", classes, OldWriter.class.getName())
            .redirectError(Redirect.DISCARD).start();
    try (var said = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
      for (int seed = 0; seed < SCHEDULES; seed++) schedule(process, said, new Random(seed), "schedule " + seed);
    } finally {
      process.destroyForcibly();
    }
  }

  private static void schedule(Process old, BufferedReader said, Random random, String name) throws Exception {
    int keys = 1 + random.nextInt(300), bytes = 1 << random.nextInt(16);
    old.getOutputStream().write((redis.port + " job " + keys + " " + bytes + "\n").getBytes());
    old.getOutputStream().flush();
    assertEquals("writing", said.readLine(), name);
    Thread.sleep(random.nextInt(60));
    boolean redisHangs = random.nextBoolean(); // then the old attempt's buffers are full
    if (redisHangs) {
      redis.signal("STOP");
      Thread.sleep(random.nextInt(60));
    }
    signal(old, "STOP");
    if (redisHangs) redis.signal("CONT");
    try (var successor = writer(0, 1)) {
      for (int i = 0; i < keys; i++) successor.write("k" + i, "new");
      if (random.nextBoolean()) successor.flush();
      signal(old, "CONT");
      Thread.sleep(random.nextInt(20));
      successor.flush();
      assertEquals("ended", said.readLine(), name);
      for (int i = 0; i < keys; i++) assertEquals("new", redis.text("GET", "k" + i), name + ", key " + i);
    }
  }

  private static void signal(Process process, String name) throws Exception {
    new ProcessBuilder("kill", "-" + name, "" + process.pid()).start().waitFor();
  }

  @Test
  void theOldOneIsToldWhy() throws Exception {
    try (var old = writer(0, 1);
        var successor = writer(0, 1)) {
      write(successor, "k", "new");
      var error = assertThrows(RefusedException.class, () -> write(old, "k", "old"));
      assertTrue(error.getMessage().contains("writer:job:0"), error.getMessage());
      assertTrue(error.getMessage().contains("same 'owner'"), error.getMessage());
      write(successor, "more", "new");
      assertEquals("new", redis.text("GET", "k"));
    }
  }

  @Test
  void subtasksAndOwnersDoNotEndEachOther() throws Exception {
    try (var first = writer(0, 2);
        var second = writer(1, 2);
        var other = new RowWriter(redis, STRINGS, "owner=job:1")) {
      for (var each : new RowWriter[] {first, second, other, first}) write(each, "k", "v");
      assertEquals(1, named("writer:job:0#"));
      assertEquals(1, named("writer:job:1#"));
    }
  }

  @Test
  void aJobWithFewerSubtasksEndsThoseThatAreLeftOver() throws Exception {
    try (var gone = writer(2, 3);
        var successor = writer(0, 2)) {
      assertEquals(0, named("writer:job:2#"));
      assertThrows(RefusedException.class, () -> write(gone, "k", "old"));
      write(successor, "k", "new");
    }
  }

  @Test
  void whatIsLeftOfAnEarlierConnectionIsEnded() throws Exception {
    try (var writer = writer(0, 1)) {
      var name = redis.text("CLIENT", "LIST").replaceAll("(?s).* name=(writer:job:0#\\d+) .*", "$1");
      redis.call("CLIENT", "KILL", "TYPE", "normal");
      try (var hung = Connection.open(redis.address(), new RedisOptions(RowWriter.with(redis)).server())) {
        hung.call("CLIENT", "SETNAME", name);
        write(writer, "k", "v");
        assertThrows(IOException.class, () -> hung.call("SET", "k", "stale"));
      }
      assertEquals(1, named(name));
      assertEquals("v", redis.text("GET", "k"));
    }
  }

  @Test
  void aRedisThatLostTheCounterStillKnowsTheNewest() throws Exception {
    try (var old = writer(0, 1)) {
      redis.call("FLUSHALL");
      try (var successor = writer(0, 1)) {
        assertThrows(RefusedException.class, () -> write(old, "k", "old"));
        write(successor, "k", "new");
      }
    }
    try (var old = writer(0, 1)) {
      redis.call("FLUSHALL");
      redis.call("CLIENT", "KILL", "TYPE", "normal");
      write(old, "k", "old");
      try (var successor = writer(0, 1)) {
        redis.call("FLUSHALL");
        redis.call("CLIENT", "KILL", "TYPE", "normal");
        write(successor, "k", "new");
        assertThrows(RefusedException.class, () -> write(old, "k", "old"));
      }
    }
    assertEquals("new", redis.text("GET", "k"));
  }

  @Test
  void thePermissionsOfTheDocumentSuffice() throws Exception {
    redis.call("ACL", "SETUSER", "strings", "on", ">word", "~*", "+ping", "+set", "+unlink");
    redis.call("ACL", "SETUSER", "hashes", "on", ">word", "~*", "+ping", "+hset", "+hdel");
    redis.call("ACL", "SETUSER", "sets", "on", ">word", "~*", "+ping", "+eval", "+zadd", "+zremrangebyrank",
        "+zrevrange", "+pexpireat");
    redis.call("ACL", "SETUSER", "fenced", "on", ">word", "~*", "+ping", "+set", "+unlink", "+eval", "+get",
        "+client|setname", "+client|id", "+client|list", "+client|kill");
    long score = System.currentTimeMillis() + 10_000;
    try (var strings = new RowWriter(redis, STRINGS, "username=strings", "password=word");
        var hashes = new RowWriter(redis, "key STRING, field STRING, value STRING", "username=hashes",
            "password=word", "command=HSET");
        var sets = new RowWriter(redis, "key STRING, member STRING, score BIGINT", "username=sets", "password=word",
            "command=ZADD", "max-members=1");
        var old = new RowWriter(redis, STRINGS, "username=fenced", "password=word", "owner=acl");
        var fenced = new RowWriter(redis, STRINGS, "username=fenced", "password=word", "owner=acl")) {
      for (var value : new String[] {"v", null}) {
        write(strings, "string", value);
        write(fenced, "string", value);
        hashes.write("hash", "field", value);
        hashes.flush();
      }
      sets.write("set", "member", score);
      sets.flush();
      for (var each : new RowWriter[] {strings, hashes, sets, fenced}) assertEquals(0, each.metrics.count("set_aside"));
    }
    var error = assertThrows(
        RefusedException.class,
        () -> new RowWriter(redis, STRINGS, "username=strings", "password=word", "owner=acl"));
    assertTrue(error.getMessage().contains("NOPERM"), error.getMessage());
    assertFalse(error.getMessage().contains("word"), error.getMessage());
  }
}
