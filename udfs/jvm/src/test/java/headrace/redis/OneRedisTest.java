package headrace.redis;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** What the tests of a class have that share one Redis, which is empty before each. */
abstract class OneRedisTest {
  @TempDir static Path folder;
  static RedisServer redis;

  @BeforeAll
  static void start() throws Exception {
    redis = new RedisServer(folder);
  }

  @AfterAll
  static void stop() throws Exception {
    redis.close();
  }

  @BeforeEach
  void empty() throws Exception {
    redis.call("FLUSHALL");
  }
}
