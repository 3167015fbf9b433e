package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.compress.Compression;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.CompressionType;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.RecordBatch;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.utils.BufferSupplier;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The Kafka client of the connector needs libraries that the connector's jar does not have (pom.xml). */
class CompressionTest {
  @ParameterizedTest
  @EnumSource(CompressionType.class)
  void whatAProducerCompressesCanBeRead(CompressionType type) throws Exception {
    var block = new byte[1000];
    new Random(1).nextBytes(block);
    var value = new byte[100_000];
    for (int at = 0; at < value.length; at += block.length) System.arraycopy(block, 0, value, at, block.length);
    var compression = Compression.of(type).build();
    var written = new ByteBufferOutputStream(1024);
    try (var out = compression.wrapForOutput(written, RecordBatch.CURRENT_MAGIC_VALUE)) {
      out.write(value);
    }
    var bytes = Arrays.copyOf(written.buffer().array(), written.position());
    var buffer = ByteBuffer.wrap(bytes);
    try (var in = compression.wrapForInput(buffer, RecordBatch.CURRENT_MAGIC_VALUE, BufferSupplier.NO_CACHING)) {
      assertArrayEquals(value, in.readAllBytes());
    }
  }
}
