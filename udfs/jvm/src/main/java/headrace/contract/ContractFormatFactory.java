package headrace.contract;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;

/** The format `contract`: JSON that keeps the rules of an .avsc, or a reason why not (docs/flink-contract.md). */
public final class ContractFormatFactory implements DeserializationFormatFactory {
  static final ConfigOption<String> SCHEMA = ConfigOptions.key("schema").stringType().noDefaultValue();
  static final ConfigOption<String> SCHEMA_FILE = ConfigOptions.key("schema-file").stringType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "contract";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of();
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of(SCHEMA, SCHEMA_FILE);
  }

  @Override
  public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
      DynamicTableFactory.Context context, ReadableConfig options) {
    FactoryUtil.validateFactoryOptions(this, options);
    return new ContractFormat(schema(options));
  }

  private static ContractSchema schema(ReadableConfig options) {
    boolean isText = options.getOptional(SCHEMA).isPresent();
    if (isText == options.getOptional(SCHEMA_FILE).isPresent()) {
      String got = isText ? "both" : "none";
      throw new ValidationException("contract: exactly one of 'schema' and 'schema-file' must be given, got " + got);
    }
    ConfigOption<String> option = isText ? SCHEMA : SCHEMA_FILE;
    try {
      return ContractSchema.parse(isText ? options.get(SCHEMA) : read(options.get(SCHEMA_FILE)));
    } catch (IllegalArgumentException error) {
      throw new ValidationException("contract." + option.key() + " " + error.getMessage(), error);
    }
  }

  private static String read(String file) {
    try {
      return Files.readString(Path.of(file));
    } catch (IOException | IllegalArgumentException error) {
      throw new IllegalArgumentException("must name a file that can be read, got '" + file + "' (" + error + ")");
    }
  }
}
