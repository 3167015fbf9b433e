package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.table.functions.ScalarFunction;

/** Reads little-endian float64 into an array: SQL cannot read bytes, and Python would cost a hop per row. */
public class Doubles extends ScalarFunction {
  public Double[] eval(byte[] packed) {
    var values = new Double[packed.length / 8];
    var buffer = ByteBuffer.wrap(packed).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < values.length; i++) values[i] = buffer.getDouble();
    return values;
  }
}
