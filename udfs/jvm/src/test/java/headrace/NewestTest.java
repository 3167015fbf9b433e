package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;
import org.junit.jupiter.api.Test;

class NewestTest {
  private static OneInputStreamOperatorTestHarness<RowData, RowData> harness(long everyMs) throws Exception {
    var text = new VarCharType(VarCharType.MAX_LENGTH);
    var type = RowType.of(text, text, new BigIntType(), new VarBinaryType(VarBinaryType.MAX_LENGTH));
    var harness = new OneInputStreamOperatorTestHarness<>(new Newest(everyMs, type, new int[] {0, 1}, 3));
    harness.setup(new RowDataSerializer(type));
    harness.open();
    return harness;
  }

  private static void put(OneInputStreamOperatorTestHarness<RowData, RowData> harness, RowData row) throws Exception {
    harness.processElement(new StreamRecord<>(row));
  }

  private static GenericRowData row(String policy, String item, long n) {
    return row(policy, item, n, 8);
  }

  private static GenericRowData row(String policy, String item, long n, int bytes) {
    return GenericRowData.of(StringData.fromString(policy), StringData.fromString(item), n, new byte[bytes]);
  }

  private static List<String> sent(OneInputStreamOperatorTestHarness<RowData, RowData> harness) {
    var rows = harness.extractOutputValues().stream()
        .map(each -> each.getString(0) + " " + each.getString(1) + " " + each.getLong(2)).toList();
    harness.getOutput().clear();
    return rows;
  }

  @Test
  void theLastRowOfAKeyGoesOnByTheClock() throws Exception {
    var harness = harness(100);
    var reused = row("a", "lamp", 1);
    put(harness, reused);
    reused.setField(2, 2L);
    put(harness, reused);
    reused.setField(2, 99L); // with object reuse, whoever sent the row changes it afterwards
    put(harness, row("b", "lamp", 3));
    harness.setProcessingTime(99);
    assertEquals(List.of(), sent(harness));
    harness.setProcessingTime(100);
    assertEquals(List.of("a lamp 2", "b lamp 3"), sent(harness));
    harness.setProcessingTime(300);
    assertEquals(List.of(), sent(harness));
  }

  @Test
  void theWaitBeginsWithTheFirstRowAfterACheckpoint() throws Exception {
    var harness = harness(100);
    put(harness, row("a", "lamp", 1));
    harness.setProcessingTime(50);
    harness.getOneInputOperator().prepareSnapshotPreBarrier(1);
    assertEquals(List.of("a lamp 1"), sent(harness));
    put(harness, row("a", "lamp", 2));
    harness.setProcessingTime(149);
    assertEquals(List.of(), sent(harness));
    harness.setProcessingTime(150);
    assertEquals(List.of("a lamp 2"), sent(harness));
  }

  @Test
  void orWithCheckpointsAlone() throws Exception {
    var harness = harness(0);
    put(harness, row("a", "lamp", 1));
    put(harness, row("a", "lamp", 2));
    harness.setProcessingTime(1_000_000);
    assertEquals(List.of(), sent(harness));
    harness.getOneInputOperator().prepareSnapshotPreBarrier(1);
    assertEquals(List.of("a lamp 2"), sent(harness));
    put(harness, row("a", "lamp", 3));
    harness.getOneInputOperator().finish();
    assertEquals(List.of("a lamp 3"), sent(harness));
  }

  @Test
  void orWhenTheyAreTooLargeToBeHeld() throws Exception {
    var harness = harness(0);
    int half = (int) Newest.MOST_BYTES / 2 - Newest.ROW_BYTES;
    for (int n = 0; n < 3; n++) put(harness, row("a", "lamp", n, half)); // one row
    put(harness, row("a", "rug", 3, half - 1));
    assertEquals(List.of(), sent(harness));
    put(harness, row("a", "rug", 4, half));
    assertEquals(List.of("a lamp 2", "a rug 4"), sent(harness));
    put(harness, row("a", "rug", 5, half));
    assertEquals(List.of(), sent(harness));
  }
}
