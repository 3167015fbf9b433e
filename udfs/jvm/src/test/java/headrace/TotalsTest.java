package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class TotalsTest {
  @Test
  void totalsAreRoundedDownToThreeBits() {
    assertEquals(1.75, Totals.roundedDown(1.99));
    assertEquals(1.75, Totals.roundedDown(1.75));
    assertEquals(12, Totals.roundedDown(13.9));
    assertEquals(0, Totals.roundedDown(0));
  }
}
