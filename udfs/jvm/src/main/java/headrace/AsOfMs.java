package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.table.functions.ScalarFunction;

/** (counters) of UserHistory -> as_of_ms. The time of the row is no measure: on a timer it is that of the timer. */
public class AsOfMs extends ScalarFunction {
  public long eval(byte[] counters) {
    return ByteBuffer.wrap(counters).order(ByteOrder.LITTLE_ENDIAN).getLong(SessionJson.AS_OF);
  }
}
