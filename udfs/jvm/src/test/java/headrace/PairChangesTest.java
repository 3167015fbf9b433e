package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.Test;

class PairChangesTest {
  private final OneInputStreamOperatorTestHarness<RowData, RowData> harness =
      new OneInputStreamOperatorTestHarness<>(new PairChanges(1_000));

  PairChangesTest() throws Exception {
    harness.open();
  }

  private void put(String item, int kind, String other, int total, long asOf, int... cells) throws Exception {
    put(item, kind, new PairChange(other, 20_000, total, asOf, cells).write());
  }

  private void put(String item, int kind, byte[] change) throws Exception {
    harness.processElement(new StreamRecord<>(GenericRowData.of(StringData.fromString(item), (byte) kind, change)));
  }

  /** Item and kind -> other -> total, as of, and users by bucket. */
  private Map<String, Map<String, List<Object>>> sent() {
    var rows = new TreeMap<String, Map<String, List<Object>>>();
    for (var row : harness.extractOutputValues()) {
      var changes = new TreeMap<String, List<Object>>();
      for (var change : PairChange.readAll(row.getBinary(2))) {
        var users = new TreeMap<Integer, Integer>();
        for (int i = 0; i < change.cells.length; i += 2) users.put(change.cells[i], change.cells[i + 1]);
        changes.put(change.other, List.of(change.rounded, change.asOf, users));
      }
      assertEquals(null, rows.put(row.getString(0) + "/" + row.getByte(1), changes));
    }
    harness.getOutput().clear();
    return rows;
  }

  @Test
  void aPairIsAddedUpByBucketAndTheLastTotalCounts() throws Exception {
    put("lamp", 0, "wîck", 3, 70, 20_000, 1);
    put("lamp", 0, "bulb", 1, 50, 20_000, 1);
    put("lamp", 0, "wîck", 4, 60, 20_001, 1);
    put("lamp", 0, "wîck", 5, 80, 20_000, 1);
    put("lamp", 0, "bulb", 2, 90, 20_000, -1);
    put("lamp", 0, "wîck", 4, Long.MIN_VALUE);
    put("lamp", 1, "wîck", 7, Long.MIN_VALUE);
    harness.setProcessingTime(999);
    assertEquals(Map.of(), sent());
    harness.setProcessingTime(1_000);
    var wick = List.<Object>of(4.0, 80L, Map.of(20_000, 2, 20_001, 1));
    var bulb = List.<Object>of(2.0, 90L, Map.of(20_000, 0));
    assertEquals(Map.of("lamp/0", Map.of("bulb", bulb, "wîck", wick), "lamp/1",
        Map.of("wîck", List.of(7.0, Long.MIN_VALUE, Map.of()))), sent());
    harness.setProcessingTime(9_000);
    assertEquals(Map.of(), sent());
  }

  /** So nothing of it is in a savepoint. */
  @Test
  void allGoesOnBeforeACheckpointAndAtTheEnd() throws Exception {
    put("lamp", 0, "wick", 1, 10, 20_000, 1);
    harness.getOneInputOperator().prepareSnapshotPreBarrier(1);
    assertEquals(1, sent().size());
    put("lamp", 0, "wick", 1, 10, 20_000, 1);
    harness.getOneInputOperator().finish();
    assertEquals(Map.of("lamp/0", Map.of("wick", List.of(1.0, 10L, Map.of(20_000, 1)))), sent());
  }

  @Test
  void orWhenItIsTooMuchToBeHeld() throws Exception {
    long most = (PairChanges.MOST_BYTES - 1) / (PairChanges.PAIR_BYTES + 4 + 7 + 8);
    for (int n = 0; n < most; n++) put("lamp", 0, "i%06d".formatted(n), 1, 10, 20_000, 1);
    put("lamp", 0, "i000000", 1, 10); // a pair that is held already
    assertEquals(Map.of(), sent());
    put("lamp", 0, "another", 1, 10, 20_000, 1);
    assertEquals(most + 1, sent().get("lamp/0").size());
    put("lamp", 0, "another", 1, 10, 20_000, 1);
    assertEquals(Map.of(), sent());
  }

  @Test
  void aRowThatFailsCostsItself() throws Exception {
    put("lamp", 0, new byte[] {1, 2});
    put("lamp", 0, "wick", 1, 10, 20_000, 1);
    harness.setProcessingTime(1_000);
    assertEquals(List.of("lamp/0"), List.copyOf(sent().keySet()));
  }
}
