package headrace;

import java.util.Base64;
import org.apache.flink.table.functions.ScalarFunction;

/** Bytes as base64: SQL's own function takes text alone. */
public class InBase64 extends ScalarFunction {
  public String eval(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }
}
