package headrace;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;

/**
 * Whether a user's records come as docs/semantics.md asks: with the user's id as their key, always from one partition.
 *
 * <p>It only counts. `other_partition` compares with the user's record before, as far as it is remembered: 65,536 users
 * of a subtask, by a hash, since the job began.
 */
final class Senders {
  private static final int SLOTS = 1 << 16;
  private final Counter otherKey, otherPartition;
  private final long[] users = new long[SLOTS]; // hashes, 0: nobody
  private final int[] partitions = new int[SLOTS];

  Senders(MetricGroup metrics) {
    otherKey = metrics.counter("other_key");
    otherPartition = metrics.counter("other_partition");
  }

  void check(String user, byte[] key, int partition) {
    if (!Arrays.equals(key, user.getBytes(StandardCharsets.UTF_8))) otherKey.inc();
    long hash = Event.hash(user);
    int slot = (int) (hash & (SLOTS - 1));
    if (users[slot] == hash && partitions[slot] != partition) otherPartition.inc();
    users[slot] = hash;
    partitions[slot] = partition;
  }
}
