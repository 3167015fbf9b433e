package headrace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.flink.table.api.dataview.MapView;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RankingTest {
  private static final int HORIZON = 90, DAYS = 200, OTHERS = 1_500;
  private final Decay decay = new Decay(14, HORIZON);
  private final Ranking ranking = new Ranking(decay, 5);

  /** A view that counts how often an other is read. */
  static final class Counted extends MapView<String, byte[]> {
    int reads, scans;

    @Override
    public byte[] get(String key) throws Exception {
      reads++;
      return super.get(key);
    }

    @Override
    public Iterable<Map.Entry<String, byte[]>> entries() throws Exception {
      scans++;
      return super.entries();
    }
  }

  /** What is sent is the best of all others, through growth, decline, ties, expiry and new days. */
  @ParameterizedTest
  @ValueSource(bytes = {Baskets.VIEWED, Baskets.TOUCHED})
  void theBestOfAllAreSent(byte kind) throws Exception {
    var random = new Random(kind);
    var others = new Counted();
    var ranked = ranked(kind);
    var best = new Ranking.Best();
    for (int step = 0; step < 600; step++) {
      int day = 20_000 + step * DAYS / 600;
      var changed = new HashMap<String, Together.Other>();
      for (int n = 0; n < 40; n++) {
        var name = kind == Baskets.VIEWED && n == 0 ? "own" : "i" + (int) Math.abs(OTHERS / 4 * random.nextGaussian());
        int late = random.nextInt(4) == 0 ? random.nextInt(3) : 0, sign = random.nextInt(6) == 0 ? -1 : 1;
        change(others, ranked, changed, name, day - late, sign, random.nextInt(1, 50));
      }
      var sent = rank(ranking, ranked, best, others, changed);
      assertEquals(byLookingAtAll(ranked, others), sent, "step " + step);
    }
    assertTrue(others.scans < 60, others.scans + " scans of 600");
  }

  private void change(MapView<String, byte[]> others, Ranking.Ranked ranked, Map<String, Together.Other> changed,
      String name, int bucket, int sign, int total) throws Exception {
    var other = Together.Other.read(others.get(name));
    if (sign < 0 && other.users.getOrDefault(bucket, 0) == 0) sign = 0; // nobody takes back what is not there
    other.apply(new PairChange(name, 20_000 + total % 7, total, 0, bucket, sign), HORIZON);
    if (ranked.kind == Baskets.TOUCHED) ranked.count(bucket, sign);
    changed.put(name, other);
    if (other.users.isEmpty()) others.remove(name);
    else others.put(name, other.write());
  }

  private static List<Ranking.Scored> rank(Ranking ranking, Ranking.Ranked ranked, Ranking.Best best,
      MapView<String, byte[]> others, Map<String, Together.Other> changed) throws Exception {
    return Ranking.Scored.read(ranking.rank(ranked, best, others, changed).scores());
  }

  /** A ranking that never ranked before. */
  private List<Ranking.Scored> byLookingAtAll(Ranking.Ranked ranked, MapView<String, byte[]> others) throws Exception {
    var all = new MapView<String, byte[]>();
    all.putAll(others.getMap());
    return rank(ranking, ranked(ranked.kind), new Ranking.Best(), all, Map.of());
  }

  private static Ranking.Ranked ranked(byte kind) {
    var ranked = new Ranking.Ranked();
    ranked.item = kind == Baskets.TOUCHED ? Baskets.EVERYBODY : "own";
    ranked.kind = kind;
    return ranked;
  }

  /** The work of a change does not grow with the catalogue, nor does that of the first one after midnight. */
  @Test
  void aChangeLooksAtTheRememberedAlone() throws Exception {
    var others = new Counted();
    var ranked = ranked(Baskets.TOUCHED);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    for (int n = 0; n < 5_000; n++)
      for (int users = n % 1_000; users >= 0; users -= 10) change(others, ranked, changed, "i" + n, 20_000, 1, 1);
    rank(ranking, ranked, best, others, changed);
    others.reads = others.scans = 0;
    for (int day = 20_000; day < 20_000 + Ranking.SCAN_DAYS; day++) {
      changed.clear();
      change(others, ranked, changed, "i7", day, 1, 1);
      rank(ranking, ranked, best, others, changed);
    }
    assertEquals(0, others.scans);
    assertTrue(others.reads <= Ranking.SCAN_DAYS * (Ranking.KEPT + 2), others.reads + " reads");
  }

  /** Of 1,000 equal ones the first by id: also when many of those leave, and others have changed meanwhile. */
  @ParameterizedTest
  @ValueSource(bytes = {Baskets.VIEWED, Baskets.TOUCHED})
  void thoseThatLeaveMakeRoomForTheNextOfAll(byte kind) throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(kind);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    if (kind == Baskets.VIEWED) change(others, ranked, changed, "own", 20_000, 1, 1);
    for (int n = 1_000; n < 2_000; n++) change(others, ranked, changed, "i" + n, 20_000, 1, 1 << 20);
    rank(ranking, ranked, best, others, changed);
    int[][] steps = {{1_000, 1_150, -1}, {1_900, 1_960, 0}, {1_150, 1_250, -1}}; // from, to, sign
    for (int[] step : steps) {
      changed.clear();
      for (int n = step[0]; n < step[1]; n++) change(others, ranked, changed, "i" + n, 20_000, step[2], 1 << 20);
      rank(ranking, ranked, best, others, changed);
    }
    changed.clear();
    var sent = rank(ranking, ranked, best, others, changed);
    assertEquals(byLookingAtAll(ranked, others), sent);
    assertEquals("i1250", sent.get(0).item());
  }

  /** Two half-lives halve the cosine of others that many hold, and quarter a count. */
  @ParameterizedTest
  @ValueSource(bytes = {Baskets.VIEWED, Baskets.TOUCHED})
  void aLaterDayLowersTheBoundAsItDoesTheScores(byte kind) throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(kind);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    change(others, ranked, changed, "own", 20_000, 1, 1);
    for (int n = 1_000; n < 1_500; n++)
      for (int users = 0; users < 10; users++) change(others, ranked, changed, "i" + n, 20_000, 1, 1 << 20);
    rank(ranking, ranked, best, others, changed);
    changed.clear();
    change(others, ranked, changed, "own", 20_028, 1, 1);
    for (int n = 1_000; n < 1_250; n++) // 7 of 10 are left: below the bound, and above one that fell faster
      for (int users = 7; users < 10; users++) change(others, ranked, changed, "i" + n, 20_000, -1, 1 << 20);
    var sent = rank(ranking, ranked, best, others, changed);
    assertEquals(byLookingAtAll(ranked, others), sent);
  }

  /** A savepoint's scores and bound are of the rule of then. */
  @Test
  void anotherRuleLooksAtAllAgain() throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(Baskets.VIEWED);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    change(others, ranked, changed, "own", 20_000, 1, 1);
    for (int n = 0; n < 1_000; n++) // the less users together, the less in all
      for (int users = n; users < 1_000; users += 100) change(others, ranked, changed, "i" + n, 20_000, 1, 1_000 - n);
    rank(ranking, ranked, best, others, changed);
    for (var rule : List.of(new Ranking(decay, 5_000), new Ranking(new Decay(3, HORIZON), 5_000))) {
      var sent = rank(rule, ranked, best, others, Map.of());
      assertEquals(rank(rule, ranked(Baskets.VIEWED), new Ranking.Best(), others, Map.of()), sent);
    }
  }

  @Test
  void aListGoesBackToTheNewestBucketLeft() throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(Baskets.TOUCHED);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    change(others, ranked, changed, "a", 20_000, 1, 1);
    change(others, ranked, changed, "b", 20_010, 1, 1);
    rank(ranking, ranked, best, others, changed);
    assertEquals(20_010, ranked.bucket);
    change(others, ranked, changed, "b", 20_010, -1, 1);
    assertEquals(1, rank(ranking, ranked, best, others, changed).size());
    assertEquals(20_000, ranked.bucket);
    change(others, ranked, changed, "a", 20_000, -1, 1);
    assertEquals(List.of(), rank(ranking, ranked, best, others, changed));
  }

  @Test
  void equalOnesComeByCodePoint() throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(Baskets.TOUCHED);
    var best = new Ranking.Best();
    var changed = new HashMap<String, Together.Other>();
    var names = List.of("a", "\uffee", "\uD83D\uDE00");
    for (var name : List.of(names.get(2), names.get(0), names.get(1))) change(others, ranked, changed, name, 1, 1, 1);
    var sent = rank(ranking, ranked, best, others, changed);
    assertEquals(names, sent.stream().map(Ranking.Scored::item).toList());
  }

  @Test
  void whatIsExpiredGoesWithTheNextLookAtAll() throws Exception {
    var others = new MapView<String, byte[]>();
    var ranked = ranked(Baskets.TOUCHED);
    var best = new Ranking.Best();
    change(others, ranked, new HashMap<>(), "old", 20_000, 1, 1);
    change(others, ranked, new HashMap<>(), "new", 20_000 + HORIZON - 1, 1, 1);
    assertEquals(2, rank(ranking, ranked, best, others, Map.of()).size());
    change(others, ranked, new HashMap<>(), "new", 20_000 + HORIZON, 1, 1);
    assertEquals(1, rank(ranking, ranked, best, others, Map.of()).size());
    ranked.scanned -= Ranking.SCAN_DAYS;
    rank(ranking, ranked, best, others, Map.of());
    assertEquals(List.of("new"), List.copyOf(others.getMap().keySet()));
  }

  @Test
  void aTotalKeepsItsFormWhateverTheDay() {
    for (int day = 20_000; day < 20_200; day++) {
      double users = 5.05 * Math.pow(2, -(day - 20_000) / 14.0);
      assertEquals(decay.rounded(5.05, 20_000), decay.rounded(users, day));
    }
    for (double users : List.of(1.0, 4.9, 5.0, 1e9)) {
      double now = decay.as(decay.rounded(users, 20_000), 20_000);
      assertTrue(now <= users * (1 + 1e-12) && now > .66 * users, users + ": " + now);
    }
    assertEquals(.5, new Decay(14, 90).as(new Decay.AsOf(10, 1), 24));
    assertEquals(2, new Decay(14, 90).as(new Decay.AsOf(24, 1), 10));
  }

  /** As one after the other: else an item that nobody holds any more would have others, and no total to weigh them. */
  @Test
  void aCountThatComesAndGoesMovesTheHorizon() {
    for (int gained : new int[] {0, 1}) {
      var other = new Together.Other();
      other.apply(new PairChange("i", 1, 1, 0, 20_000, 2), HORIZON);
      other.apply(new PairChange("i", Ranking.NONE, 0, 0, 20_000 + HORIZON - 1, gained), HORIZON);
      assertTrue(other.users.containsKey(20_000));
      other.apply(new PairChange("i", Ranking.NONE, 0, 0, 20_000 + HORIZON, 0), HORIZON);
      assertEquals(gained, other.users.size());
      assertEquals(0, decay.as(other.total(), 20_000 + HORIZON));
    }
  }
}
