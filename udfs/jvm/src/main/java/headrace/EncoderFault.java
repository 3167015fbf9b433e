package headrace;

import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * (encoder_version, context) -> why the context is not one of the job's encoder; null if it is. In the words of
 * udfs/bandit/context.py (Encoder.check).
 */
public class EncoderFault extends ScalarFunction {
  private String version;
  private long d;

  /** The job parameters encoder and d say which one it is. */
  @Override
  public void open(FunctionContext context) {
    version = context.getJobParameter("headrace.encoder", "");
    d = UserHistory.setting(context, "d");
  }

  public String eval(String encoderVersion, byte[] context) {
    if (context == null) return null;
    if (encoderVersion != null && !encoderVersion.equals(version))
      return "encoder_version must be " + version + ", got " + encoderVersion;
    if (context.length != 8 * d) return "context must have " + d + " values, got " + context.length / 8;
    return null;
  }
}
