package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.Test;

class PartialSumsTest {
  private final OneInputStreamOperatorTestHarness<RowData, RowData> harness;

  PartialSumsTest() throws Exception {
    harness = new OneInputStreamOperatorTestHarness<>(new PartialSums(50));
    harness.open();
  }

  private void change(String item, long period, double x, boolean enters, double before, double reward, long asOf)
      throws Exception {
    harness.processElement(new StreamRecord<>(GenericRowData.of(StringData.fromString("linucb"),
        StringData.fromString(item), period, Sums.packed(new double[] {x}), enters, before, reward, asOf)));
  }

  private List<String> sent() {
    var rows = new ArrayList<String>();
    for (var each : harness.extractOutputValues())
      rows.add(each.getString(0) + " " + each.getString(1) + " " + each.getLong(2) + " "
          + HexFormat.of().formatHex(each.getBinary(3)) + " " + each.getLong(4));
    harness.getOutput().clear();
    return rows;
  }

  private static String row(String item, long period, long asOf, double... sums) {
    return "linucb " + item + " " + period + " " + HexFormat.of().formatHex(Sums.packed(sums)) + " " + asOf;
  }

  @Test
  void theChangesOfAnArmAreAddedUpForAMoment() throws Exception {
    change("lamp", 0, 2, true, 0, 0, 7);
    change("lamp", 0, 3, true, 0, 1, 9);
    change("lamp", 0, 2, false, 0, 5, 8);
    harness.setProcessingTime(49);
    assertEquals(List.of(), sent());
    harness.setProcessingTime(50);
    assertEquals(List.of(row("lamp", 0, 9, 13, 13, 2)), sent());
    harness.setProcessingTime(200);
    assertEquals(List.of(), sent());
    change("lamp", 0, 1, true, 0, 0, 7);
    harness.setProcessingTime(249);
    assertEquals(List.of(), sent());
    harness.setProcessingTime(250);
    assertEquals(List.of(row("lamp", 0, 7, 1, 0, 1)), sent());
  }

  @Test
  void eachArmAndPeriodHasItsOwn() throws Exception {
    change("lamp", 0, 1, true, 0, 0, 1);
    change("lamp", 1, 1, true, 0, 0, 1);
    change("rug", 0, 1, true, 0, 0, 1);
    harness.setProcessingTime(50);
    assertEquals(3, sent().size());
  }

  /** So it needs no state. */
  @Test
  void whatIsThereGoesOnBeforeACheckpointAndAtTheEnd() throws Exception {
    change("lamp", 0, 1, true, 0, 0, 1);
    harness.getOneInputOperator().prepareSnapshotPreBarrier(1);
    assertEquals(List.of(row("lamp", 0, 1, 1, 0, 1)), sent());
    change("lamp", 0, 1, true, 0, 0, 1);
    harness.getOneInputOperator().finish();
    assertEquals(List.of(row("lamp", 0, 1, 1, 0, 1)), sent());
  }
}
