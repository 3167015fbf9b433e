package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.TreeMap;

/**
 * What a user bought and gave back of one item in one bucket.
 *
 * <p>Layout of write(), little-endian, per bucket: bucket i64, purchases i32,
 * time of the first i64, refunds i32.
 */
record Trade(int purchases, long first, int refunds) {
  private static final int SIZE = 24;

  Trade plus(Trade other) {
    return new Trade(purchases + other.purchases, Math.min(first, other.first), refunds + other.refunds);
  }

  /**
   * bucket -> time of its first purchase, for each bucket with a purchase that was not refunded. Each refund, of
   * whatever bucket, takes back the newest purchase left.
   */
  static TreeMap<Long, Long> standing(TreeMap<Long, Trade> trades) {
    int refunds = trades.values().stream().mapToInt(Trade::refunds).sum();
    var standing = new TreeMap<Long, Long>();
    for (var entry : trades.descendingMap().entrySet()) {
      int taken = Math.min(refunds, entry.getValue().purchases);
      refunds -= taken;
      if (entry.getValue().purchases > taken) standing.put(entry.getKey(), entry.getValue().first);
    }
    return standing;
  }

  static TreeMap<Long, Trade> read(byte[] bytes) {
    var trades = new TreeMap<Long, Trade>();
    if (bytes == null) return trades;
    var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining())
      trades.put(buffer.getLong(), new Trade(buffer.getInt(), buffer.getLong(), buffer.getInt()));
    return trades;
  }

  static byte[] write(TreeMap<Long, Trade> trades) {
    var buffer = ByteBuffer.allocate(SIZE * trades.size()).order(ByteOrder.LITTLE_ENDIAN);
    trades.forEach((bucket, trade) ->
        buffer.putLong(bucket).putInt(trade.purchases).putLong(trade.first).putInt(trade.refunds));
    return buffer.array();
  }
}
