package headrace;

import headrace.Together.Other;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import org.apache.flink.table.api.dataview.MapView;

/**
 * The others of an item that rank first, without a look at all of them at each change.
 *
 * <p>KEPT others are remembered with their scores, and with a bound that no other one ranks before. A change concerns an
 * other itself, and a new day lowers all scores, so the bound stays one. Only when fewer than SENT of those remembered
 * still rank before it are all others looked at again, and once in SCAN_DAYS, which also removes the expired ones.
 *
 * <p>A score is the decayed count of users who hold both, over the root of the other's total and the shrink; for
 * EVERYBODY the count alone. It is the cosine but for the item's own total, the same for a whole list: see `norm`.
 */
final class Ranking {
  static final int NONE = Integer.MIN_VALUE, SENT = 200, KEPT = 400, SCAN_DAYS = 30;
  private static final double ROUNDING = 1e-9; // more than the error of any sum here

  /** The savepoint's schema (see UserHistory.User). */
  public static class Ranked {
    public String item; // whose others they are
    public byte kind;
    public int newest = NONE; // EVERYBODY's newest bucket with a count ...
    public long atNewest; // ... and the users in it
    public int scanned = NONE; // bucket in which all others were looked at
    public int bucket = NONE; // as of which the bound is: none but `items` ranks before (bound, boundItem)
    public double bound;
    public String boundItem = "";
    public String[] items = {}; // of 0.1.0 and 0.2.0 alone: Best has what ranks first

    /** cells: bucket, users, bucket, users, ... */
    void count(int... cells) {
      for (int i = 0; i < cells.length; i += 2) count(cells[i], cells[i + 1]);
    }

    private void count(int in, int users) {
      if (users == 0 || in < newest) return;
      atNewest = users + (in > newest ? 0 : atNewest);
      newest = in;
    }
  }

  /** Those remembered with their scores, by which rule and as of which bucket. The savepoint's schema. */
  public static class Best {
    public int bucket = NONE, horizon;
    public double halfLife, shrink;
    public byte[] scores = {}; // the best first: Scored, one after another
  }

  /** Layout, little-endian: score f64, length of the item u16, the item in UTF-8. */
  record Scored(String item, double score) {
    static final int HEAD = 10;

    static byte[] write(List<Scored> all) {
      var bytes = new ByteArrayOutputStream(32 * all.size());
      var head = ByteBuffer.allocate(HEAD).order(ByteOrder.LITTLE_ENDIAN);
      for (var each : all) {
        var name = each.item.getBytes(StandardCharsets.UTF_8);
        bytes.writeBytes(head.clear().putDouble(each.score).putShort((short) name.length).array());
        bytes.writeBytes(name);
      }
      return bytes.toByteArray();
    }

    /** The bytes of the first n. */
    static byte[] first(byte[] bytes, int n) {
      var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
      int end = 0;
      for (int i = 0; i < n && end < bytes.length; i++) end += HEAD + Short.toUnsignedInt(buffer.getShort(end + 8));
      return Arrays.copyOf(bytes, end);
    }

    static List<Scored> read(byte[] bytes) {
      var all = new ArrayList<Scored>();
      var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
      while (buffer.hasRemaining()) {
        double score = buffer.getDouble();
        int length = Short.toUnsignedInt(buffer.getShort());
        all.add(new Scored(new String(bytes, buffer.position(), length, StandardCharsets.UTF_8), score));
        buffer.position(buffer.position() + length);
      }
      return all;
    }
  }

  /** As in the lists: the best first, equal ones by item id in code point order. */
  private static final Comparator<Scored> ORDER =
      Comparator.comparingDouble(Scored::score).reversed().thenComparing(Scored::item, Ranking::byCodePoint);
  final Decay decay;
  private final double shrink;

  Ranking(Decay decay, double shrink) {
    this.decay = decay;
    this.shrink = shrink;
  }

  /** What a list of an item is made from: the SENT that rank first, as Scored. A score of the list is its share of norm. */
  record First(byte[] scores, double norm) {
    static final First NOTHING = new First(new byte[0], 1);
  }

  /** changed: those of the others that have changed. */
  First rank(Ranked ranked, Best best, MapView<String, byte[]> others, Map<String, Other> changed) throws Exception {
    if (!isOfRule(best)) ranked.scanned = NONE; // nor is the bound
    var self = ranked.kind == Baskets.TOUCHED ? null : Other.read(others.get(ranked.item));
    int newest = newest(ranked, others, self, changed);
    if (newest == NONE) return First.NOTHING;
    var first = newest < ranked.bucket || newest >= ranked.scanned + SCAN_DAYS ? null
        : remembered(ranked, best, others, changed, newest);
    if (first == null) first = scanned(ranked, others, newest);
    ranked.bucket = best.bucket = newest;
    ranked.items = new String[0];
    best.scores = Scored.write(first);
    return new First(Scored.first(best.scores, SENT), self == null ? 1 : Math.sqrt(decay.as(self.total(), newest) + shrink));
  }

  /** Whether the scores are of today's rule; from here on they are. */
  private boolean isOfRule(Best best) {
    boolean same = best.halfLife == decay.halfLife && best.horizon == decay.horizon && best.shrink == shrink;
    best.halfLife = decay.halfLife;
    best.horizon = decay.horizon;
    best.shrink = shrink;
    return same;
  }

  /**
   * The newest bucket with a count, as of which the list is; NONE if nobody holds the item. Who holds a pair holds the
   * item; but a count of the pair may come first.
   */
  private int newest(Ranked ranked, MapView<String, byte[]> others, Other self, Map<String, Other> changed)
      throws Exception {
    boolean known = self == null ? ranked.atNewest > 0 : self.last() >= ranked.bucket;
    if (ranked.scanned == NONE || !known) return lookForNewest(ranked, others);
    int newest = self == null ? ranked.newest : self.last();
    for (var other : changed.values()) newest = Math.max(newest, other.last());
    return newest;
  }

  private static int lookForNewest(Ranked ranked, MapView<String, byte[]> others) throws Exception {
    ranked.newest = ranked.scanned = NONE;
    for (byte[] bytes : others.values()) Other.read(bytes).users.forEach(ranked::count);
    return ranked.newest;
  }

  /** The best of those remembered and changed; null if that may not be the best of all. */
  private List<Scored> remembered(Ranked ranked, Best best, MapView<String, byte[]> others, Map<String, Other> changed,
      int newest) throws Exception {
    lower(ranked, newest);
    var found = new ArrayList<Scored>(KEPT + changed.size());
    boolean known = best.bucket == newest;
    for (var each : Scored.read(best.scores)) {
      if (changed.containsKey(each.item)) continue;
      found.add(known ? each : scored(ranked, each.item, Other.read(others.get(each.item)), newest));
    }
    for (var each : changed.entrySet()) found.add(scored(ranked, each.getKey(), each.getValue(), newest));
    found.removeIf(scored -> scored.score <= 0 || !isBeforeBound(ranked, scored));
    found.sort(ORDER);
    if (ranked.bound > 0 && found.size() < SENT) return null;
    return cut(ranked, found);
  }

  /** What a new day does to all scores that it does not know: half-lives pass for the count, and for half the cosine. */
  private void lower(Ranked ranked, int newest) {
    if (newest == ranked.bucket || ranked.bound == 0) return;
    double days = newest - ranked.bucket;
    ranked.bound *= decay.weight(ranked.kind == Baskets.TOUCHED ? days : days / 2) * (1 + ROUNDING);
    ranked.boundItem = "";
  }

  private static boolean isBeforeBound(Ranked ranked, Scored scored) {
    if (scored.score != ranked.bound) return scored.score > ranked.bound;
    return byCodePoint(scored.item, ranked.boundItem) < 0;
  }

  private List<Scored> scanned(Ranked ranked, MapView<String, byte[]> others, int newest) throws Exception {
    var worst = new PriorityQueue<>(Collections.reverseOrder(ORDER));
    var expired = new ArrayList<String>();
    for (var entry : others.entries()) {
      var other = Other.read(entry.getValue());
      if (other.last() <= newest - decay.horizon) expired.add(entry.getKey());
      var scored = scored(ranked, entry.getKey(), other, newest);
      if (scored.score > 0) worst.add(scored);
      if (worst.size() > KEPT + 1) worst.poll();
    }
    for (var name : expired) others.remove(name);
    ranked.scanned = newest;
    ranked.bound = 0;
    ranked.boundItem = "";
    var found = new ArrayList<>(worst);
    found.sort(ORDER);
    return cut(ranked, found);
  }

  /** Leaves KEPT, and bounds the others by the best one that is left out. */
  private static List<Scored> cut(Ranked ranked, List<Scored> found) {
    if (found.size() <= KEPT) return found;
    ranked.bound = found.get(KEPT).score;
    ranked.boundItem = found.get(KEPT).item;
    return found.subList(0, KEPT);
  }

  private Scored scored(Ranked ranked, String name, Other other, int newest) {
    double score = name.equals(ranked.item) ? 0 : decay.sum(other.users, newest);
    if (ranked.kind != Baskets.TOUCHED) score /= Math.sqrt(decay.as(other.total(), newest) + shrink);
    return new Scored(name, score);
  }

  private static int byCodePoint(String a, String b) {
    int shorter = Math.min(a.length(), b.length());
    for (int i = 0; i < shorter; i++)
      if (a.charAt(i) != b.charAt(i)) return Integer.compare(a.codePointAt(i), b.codePointAt(i));
    return Integer.compare(a.length(), b.length());
  }
}
