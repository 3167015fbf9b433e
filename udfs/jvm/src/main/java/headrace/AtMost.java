package headrace;

import org.apache.flink.table.functions.ScalarFunction;

/** Bytes that are no longer than a limit; null for longer ones. SQL measures text in characters, and bytes not at all. */
public class AtMost extends ScalarFunction {
  public byte[] eval(byte[] bytes, int limit) {
    return bytes == null || bytes.length > limit ? null : bytes;
  }
}
