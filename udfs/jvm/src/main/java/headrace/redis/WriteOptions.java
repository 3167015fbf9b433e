package headrace.redis;

import java.io.Serializable;

/**
 * What is written and how it is gathered.
 *
 * @param maxMembers of a sorted set; 0 without one
 * @param buffer so many keys go out at once without waiting for lingerMs
 * @param bufferBytes values that wait or are unanswered
 * @param ifAbsent a key, or a field, that is there stays as it is
 * @param owner null: writers are not fenced
 */
record WriteOptions(
    Kind command, long maxMembers, boolean ifAbsent, long lingerMs, int buffer, long bufferBytes, String keyPrefix,
    String owner)
    implements Serializable {
  enum Kind {
    SET,
    HSET,
    ZADD
  }

  /** Keys that wait or are unanswered. */
  int mostKeys() {
    return (int) Math.min(Integer.MAX_VALUE, 4L * buffer);
  }
}
