package headrace.contract;

import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.DataType;

/** What a row can also tell: why its record is refused, in one word and in a sentence, and the record's bytes. */
enum ContractMetadata {
  REASON("reason", DataTypes.STRING().nullable()),
  DETAIL("detail", DataTypes.STRING().nullable()),
  RAW("raw", DataTypes.BYTES().nullable());

  final String key;
  final DataType type;

  ContractMetadata(String key, DataType type) {
    this.key = key;
    this.type = type;
  }

  Object of(RecordScanner record, byte[] value) {
    return switch (this) {
      case REASON -> StringData.fromString(record.reason);
      case DETAIL -> StringData.fromString(record.detail);
      case RAW -> value;
    };
  }
}
