package headrace;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Packed vectors and sums, little-endian float64 (docs/bandit.md): a context x, and an arm's sums, which are A's upper
 * triangle row by row, b and n. Every term is a multiple of 2^-24, so a sum is exact while it is within 2^29, and does
 * not depend on its order.
 */
final class Sums {
  private static final VarHandle DOUBLE = MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);
  private static final double STEPS = 4096, CONTEXT_MAX = 8; // as udfs/bandit/arms.py (quantise)
  private static final int EXACT_BITS = 29;

  private Sums() {}

  /** Rounds each value to a multiple of 2^-12, halves upwards, and clips it to [-8, 8]. */
  static byte[] quantised(byte[] context) {
    var x = new byte[context.length];
    for (int at = 0; at < x.length; at += 8) {
      double rounded = Math.floor((double) DOUBLE.get(context, at) * STEPS + 0.5) / STEPS;
      DOUBLE.set(x, at, Math.max(-CONTEXT_MAX, Math.min(CONTEXT_MAX, rounded)));
    }
    return x;
  }

  static int length(int d) {
    return (d + 1) * (d + 2) / 2;
  }

  /** Adds difference x; and for an impression that enters (1, not 0) x x' and 1. */
  static void add(double[] sums, byte[] x, double enters, double difference) {
    int d = x.length / 8, at = 0;
    if (sums.length != length(d))
      throw new IllegalArgumentException("x must be of sums of " + sums.length + " values, got " + d + " values");
    var values = new double[d];
    for (int i = 0; i < d; i++) values[i] = (double) DOUBLE.get(x, 8 * i);
    if (enters == 0) at = d * (d + 1) / 2;
    else for (int i = 0; i < d; i++) for (int j = i; j < d; j++) sums[at++] += enters * values[i] * values[j];
    for (int i = 0; i < d; i++) sums[at++] += difference * values[i];
    sums[at] += enters;
  }

  static byte[] packed(double[] sums) {
    var bytes = new byte[8 * sums.length];
    for (int i = 0; i < sums.length; i++) DOUBLE.set(bytes, 8 * i, sums[i]);
    return bytes;
  }

  /** sums + weight * others, in new bytes: a row that was collected must not change. sums may be absent. */
  static byte[] plus(byte[] sums, byte[] others, double weight) {
    if (sums != null && sums.length != 0 && sums.length != others.length)
      throw new IllegalArgumentException("sums must have " + sums.length + " bytes, got " + others.length);
    var next = sums == null || sums.length == 0 ? new byte[others.length] : sums.clone();
    for (int at = 0; at < next.length; at += 8)
      DOUBLE.set(next, at, (double) DOUBLE.get(next, at) + weight * (double) DOUBLE.get(others, at));
    return next;
  }

  /** period i64, then the sums. */
  static byte[] ofPeriod(long period, byte[] sums) {
    return ByteBuffer.allocate(8 + sums.length).order(ByteOrder.LITTLE_ENDIAN).putLong(period).put(sums).array();
  }

  static long period(byte[] ofPeriod) {
    return ByteBuffer.wrap(ofPeriod).order(ByteOrder.LITTLE_ENDIAN).getLong();
  }

  static double n(byte[] sums) {
    return (double) DOUBLE.get(sums, sums.length - 8);
  }

  /** Whether every sum is so small that it is exact; each of `periods` but the newest takes a bit. */
  static boolean exact(byte[] sums, long periods) {
    double bound = Math.scalb(1.0, EXACT_BITS - (int) Math.min(periods - 1, EXACT_BITS));
    for (int at = 0; at < sums.length; at += 8) if (!(Math.abs((double) DOUBLE.get(sums, at)) <= bound)) return false;
    return true;
  }
}
