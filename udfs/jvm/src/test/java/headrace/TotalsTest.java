package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class TotalsTest {
  @Test
  void totalsAreRoundedDownToTwoBits() {
    assertEquals(1.5, Totals.roundedDown(1.99));
    assertEquals(1.5, Totals.roundedDown(1.5));
    assertEquals(1, Totals.roundedDown(1.49));
    assertEquals(12, Totals.roundedDown(15.9));
    assertEquals(0, Totals.roundedDown(0));
  }
}
