package headrace.redis;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/**
 * Members for a sorted set, each with a time as its score. A member's highest score counts, the `most` highest stay,
 * and the key expires at the highest: the same for any order and any repeats.
 */
final class Members implements Change {
  private static final byte[] EVAL = RespBuffer.utf8("EVAL"), ONE = RespBuffer.utf8("1");
  private static final byte[] SCRIPT =
      RespBuffer.utf8(
          """
          for i = 2, #ARGV, 1000 do
            redis.call('ZADD', KEYS[1], 'GT', unpack(ARGV, i, math.min(i + 999, #ARGV)))
          end
          redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
          redis.call('PEXPIREAT', KEYS[1], redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
          """);
  private static final int OVERHEAD = 300, PER_MEMBER = 40; // bytes
  private final byte[] key;
  private final long most;
  private final Map<ByteBuffer, Long> scores;
  private final long asOfMs;
  private final int bytes;

  Members(byte[] key, long most, byte[] member, long score, long asOfMs) {
    this(key, most, new HashMap<>(Map.of(ByteBuffer.wrap(member), score)), asOfMs,
        OVERHEAD + key.length + PER_MEMBER + member.length);
  }

  private Members(byte[] key, long most, Map<ByteBuffer, Long> scores, long asOfMs, int bytes) {
    this.key = key;
    this.most = most;
    this.scores = scores;
    this.asOfMs = asOfMs;
    this.bytes = bytes;
  }

  @Override
  public long asOfMs() {
    return asOfMs;
  }

  @Override
  public int bytes() {
    return bytes;
  }

  @Override
  public void writeTo(RespBuffer out) {
    out.array(5 + 2 * scores.size()).bulk(EVAL).bulk(SCRIPT).bulk(ONE).bulk(key).bulk(most);
    scores.forEach((member, score) -> out.bulk(score).bulk(member.array()));
  }

  /** Takes the older one's members over: it is not used again. */
  @Override
  public Change after(Change older) {
    var before = (Members) older;
    int sum = before.bytes;
    for (var each : scores.entrySet()) {
      if (!before.scores.containsKey(each.getKey())) sum += PER_MEMBER + each.getKey().capacity();
      before.scores.merge(each.getKey(), each.getValue(), Math::max);
    }
    return new Members(key, most, before.scores, Math.min(asOfMs, before.asOfMs), sum);
  }
}
