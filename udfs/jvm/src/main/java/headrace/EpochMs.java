package headrace;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.ScalarFunction;

/** TIMESTAMP_LTZ(3) -> ms since 1970, for which SQL has no function. */
public class EpochMs extends ScalarFunction {
  public Long eval(@DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class) TimestampData time) {
    return time == null ? null : time.getMillisecond();
  }
}
