package headrace;

import static headrace.SessionJsonTest.ACTIONS;
import static headrace.SessionJsonTest.recent;
import static org.junit.jupiter.api.Assertions.assertEquals;

import headrace.SessionJsonTest.Event;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class HidingTest {
  static List<Row> rows(Event... events) {
    var rows = new ArrayList<Row>();
    var hiding = new Hiding();
    hiding.open(ACTIONS, 1_000, 1_000_000);
    hiding.setCollector(new ListCollector<>(rows));
    hiding.eval(recent(events));
    return rows;
  }

  @Test
  void whatIsRefusedIsHiddenForeverAndWhatIsBoughtForAWhile() {
    assertEquals(List.of(Row.of("lamp", 1_009L)), rows(new Event("rug", "block", 1), new Event("lamp", "purchase", 9)));
    assertEquals(List.of(Row.of("é", 1_000_002L)), rows(new Event("é", "block", 2)));
    assertEquals(List.of(Row.of("rug", 1_000_003L)), rows(new Event("rug", "dislike", 3)));
  }

  @Test
  void whateverElseIsDoneHidesNothing() {
    for (var action : ACTIONS)
      if (!List.of("block", "dislike", "purchase").contains(action))
        assertEquals(List.of(), rows(new Event("rug", "block", 1), new Event("rug", action, 2)), action);
    assertEquals(List.of(), rows());
  }
}
