package headrace.redis;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.util.Random;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;

/** How many SETs of a 900-byte value a writer gets answered in a second, by a redis-server of its own. */
final class WriteRate {
  private static final int USERS = 200_000, ROUNDS = 5, VALUE_BYTES = 900;
  private static final long HOUR_MS = 3_600_000;

  public static void main(String[] none) throws Exception {
    try (var redis = new RedisServer(Files.createTempDirectory("write-rate"));
        var writer =
            new RowWriter(redis, "key STRING, value BYTES, expire_at_ms BIGINT, as_of_ms BIGINT", "owner=rate")) {
      var value = new byte[VALUE_BYTES];
      new Random(1).nextBytes(value);
      for (int round = 0; round < ROUNDS; round++) {
        long before = writer.metrics.count("written"), began = System.nanoTime(), cpu = cpuNs();
        double redisBefore = redisCpuS(redis);
        long nowMs = System.currentTimeMillis();
        for (int user = 0; user < USERS; user++)
          writer.write(GenericRowData.of(StringData.fromString("session:" + user), value, nowMs + HOUR_MS, nowMs));
        writer.flush();
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf(
            "%,.0f SETs/s, CPU us a SET: %.2f Java, %.2f Redis%n", (writer.metrics.count("written") - before) / seconds,
            (cpuNs() - cpu) / 1e3 / USERS, (redisCpuS(redis) - redisBefore) * 1e6 / USERS);
      }
    }
  }

  private static long cpuNs() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
        .getProcessCpuTime();
  }

  private static double redisCpuS(RedisServer redis) throws Exception {
    return redis.text("INFO", "cpu").lines()
        .filter(line -> line.startsWith("used_cpu_sys:") || line.startsWith("used_cpu_user:"))
        .mapToDouble(line -> Double.parseDouble(line.substring(line.indexOf(':') + 1)))
        .sum();
  }
}
