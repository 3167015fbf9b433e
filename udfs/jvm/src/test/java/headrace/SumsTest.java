package headrace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class SumsTest {
  @Test
  void aContextIsRoundedHalvesUpwardsAndClipped() {
    double step = 1 / 4096.0;
    var given = new double[] {.5 * step, -.5 * step, -1.5 * step, .49 * step, 9, -12, 8, 1e-300};
    assertArrayEquals(
        Sums.packed(new double[] {step, 0, -step, 0, 8, -8, 8, 0}), Sums.quantised(Sums.packed(given)));
  }

  @Test
  void anImpressionEntersAndItsRewardChanges() {
    var x = Sums.packed(new double[] {1, -.5});
    var sums = new double[Sums.length(2)];
    Sums.add(sums, x, 1, 2);
    assertArrayEquals(new double[] {1, -.5, .25, 2, -1, 1}, sums);
    Sums.add(sums, x, 0, -3);
    assertArrayEquals(new double[] {1, -.5, .25, -1, .5, 1}, sums);
    assertThrows(IllegalArgumentException.class, () -> Sums.add(sums, new byte[8], 1, 0));
  }

  @Test
  void zeroIsWrittenWithoutASign() {
    var sums = new double[Sums.length(1)];
    Sums.add(sums, Sums.packed(new double[] {-0.0}), 1, -0.0);
    assertArrayEquals(Sums.packed(new double[] {0, 0, 1}), Sums.packed(sums));
    assertArrayEquals(Sums.packed(new double[] {0}), Sums.plus(null, Sums.packed(new double[] {-0.0}), 1));
  }

  @Test
  void sumsAreExactUpToTheirBound() {
    double bound = Math.scalb(1, 29);
    assertTrue(Sums.exact(Sums.packed(new double[] {bound, -bound}), 1));
    assertFalse(Sums.exact(Sums.packed(new double[] {0, -bound - 1}), 1));
    assertTrue(Sums.exact(Sums.packed(new double[] {bound / 128}), 8));
    assertFalse(Sums.exact(Sums.packed(new double[] {bound / 128 + 1}), 8));
    assertFalse(Sums.exact(Sums.packed(new double[] {Double.NaN}), 1));
    assertEquals(Math.scalb(1, -24), bound - (bound - Math.scalb(1, -24))); // the last place that there is
  }
}
