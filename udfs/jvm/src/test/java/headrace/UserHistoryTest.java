package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class UserHistoryTest {
  private static final long MIN = Clicks.MINUTE_MS;

  @Test
  void theWatermarkClosesASpanOnceAndForgetsTheUser() throws Exception {
    var clicks = new Clicks(Map.of());
    clicks.view("a", 0, "lamp");
    clicks.view("b", 5, "rug");
    assertEquals(List.of(), clicks.harness.advance(45 * MIN));
    var closed = Clicks.ofKind(UserHistory.CLOSED, clicks.harness.advance(45 * MIN + 1));
    assertEquals(List.of("0 5 2"), spans(closed));
    assertEquals(List.of(), clicks.harness.advance(1440 * MIN));
    clicks.harness.advance(31L * 1440 * MIN);
    assertEquals(null, clicks.harness.state("u"));
  }

  /** Start, end and number of events of each closed span. */
  static List<String> spans(List<Row> rows) {
    var found = new ArrayList<String>();
    for (var row : Clicks.ofKind(UserHistory.CLOSED, rows)) {
      found.add((long) row.getField(4) / MIN + " " + (long) row.getField(5) / MIN + " " + row.getField(6));
    }
    return found;
  }
}
