package headrace;

import java.util.Map;

/** How old counts weigh (docs/collaborative.md, "Together"). Buckets are days since 1970. */
final class Decay {
  /** A value as of a bucket; as of another one it weighs 2^-(days between / half-life). */
  record AsOf(int bucket, double value) {}

  final int horizon;
  final double halfLife; // in buckets
  private final double[] weights; // by age

  Decay(double halfLife, int horizon) {
    this.halfLife = halfLife;
    this.horizon = horizon;
    weights = new double[horizon];
    for (int age = 0; age < horizon; age++) weights[age] = weight(age);
  }

  /** Of a count that is `age` buckets old; above 1 for one that is newer. */
  double weight(double age) {
    return Math.pow(2, -age / halfLife);
  }

  /** 0 for what is as old as the horizon, or newer than asOf. */
  double weight(int bucket, int asOf) {
    int age = asOf - bucket;
    return age >= 0 && age < horizon ? weights[age] : 0;
  }

  double sum(Map<Integer, Integer> users, int asOf) {
    double sum = 0;
    for (var entry : users.entrySet()) sum += entry.getValue() * weight(entry.getKey(), asOf);
    return sum;
  }

  /**
   * Rounds a sum as of a bucket down to two significant bits, in units of a fixed landmark (forward decay: Cormode,
   * Shkapenyuk, Srivastava, Xu 2009). So it stays the same while nothing is counted, whatever day it is. The bucket of
   * the result depends on its value alone.
   */
  AsOf rounded(double sum, int asOf) {
    double halfLives = asOf / halfLife, whole = Math.floor(halfLives);
    double mantissa = Totals.roundedDown(sum * Math.pow(2, halfLives - whole));
    // The same number has one form: its power of two belongs to the landmark.
    int exponent = mantissa > 0 ? Math.getExponent(mantissa) : 0;
    whole += exponent;
    int bucket = (int) Math.floor(whole * halfLife);
    return new AsOf(bucket, Math.scalb(mantissa, -exponent) * Math.pow(2, whole - bucket / halfLife));
  }

  double as(AsOf value, int bucket) {
    return value.value == 0 ? 0 : value.value * weight(bucket - value.bucket);
  }
}
