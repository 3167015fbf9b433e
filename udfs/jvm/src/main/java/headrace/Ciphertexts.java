package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Base64;

/**
 * The running sum of ciphertexts, as udfs/federated/ciphertext.py defines it. It keeps one number per coefficient,
 * however many are added.
 */
public class Ciphertexts {
  private final long modulus; // below 2^62, so that two coefficients fit a long
  private final long[] total, next;

  public Ciphertexts(long modulus, int bodyBytes) {
    this.modulus = modulus;
    total = new long[bodyBytes / Long.BYTES];
    next = new long[total.length];
  }

  /** Adds the ciphertext of a frame, whose last byte is before `end`. */
  public void add(byte[] frame, int end) {
    int bytes = next.length * Long.BYTES;
    ByteBuffer.wrap(frame, end - bytes, bytes).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().get(next);
    for (int i = 0; i < total.length; i++) {
      long sum = total[i] + next[i];
      total[i] = sum >= modulus ? sum - modulus : sum;
    }
  }

  public String base64() {
    var bytes = ByteBuffer.allocate(total.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asLongBuffer().put(total);
    return Base64.getEncoder().encodeToString(bytes.array());
  }
}
