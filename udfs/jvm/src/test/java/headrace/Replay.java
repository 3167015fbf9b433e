package headrace;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.flink.types.Row;

/**
 * Feeds UserHistory with the sequences of standard input, for a test in another language to compare.
 *
 * <p>A sequence is a line of its settings, NAME=VALUE, then a line a click: event, t, action, item or -, session or -.
 * An empty line ends it; then a line comes out for each click (why it was refused, or the live session's counters) and
 * for each closed span, in the order of the alphabet, and an empty line.
 */
final class Replay {
  private static final Map<Byte, String> PATHS =
      Map.of(UserHistory.LATE, "dead late", UserHistory.INTERNAL, "internal");
  private final StringBuilder out = new StringBuilder();

  public static void main(String[] none) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in));
    for (String settings; (settings = in.readLine()) != null;) {
      var clicks = new ArrayList<String[]>();
      for (String line; !(line = in.readLine()).isEmpty();) clicks.add(line.split(" "));
      System.out.println(new Replay().run(settings, clicks));
    }
  }

  private String run(String settings, List<String[]> sequence) throws Exception {
    var changed = Arrays.stream(settings.split(" ")).map(each -> each.split("="))
        .collect(Collectors.toMap(each -> each[0], each -> each[1]));
    var clicks = new Clicks(changed);
    var spans = new ArrayList<Row>();
    for (var c : sequence) {
      var rows = clicks.act("u", c[0], Long.parseLong(c[1]), c[2], none(c[3]), none(c[4]));
      spans.addAll(Clicks.ofKind(UserHistory.CLOSED, rows));
      out.append(path(rows)).append('\n');
    }
    spans.addAll(clicks.harness.advance(Long.MAX_VALUE / 2));
    spans.stream().map(Replay::line).sorted().forEach(line -> out.append(line).append('\n'));
    return out.toString();
  }

  private static String line(Row span) {
    var words = new ArrayList<String>();
    for (int i = 4; i < 11; i++) words.add(String.valueOf(span.getField(i)));
    words.set(4, String.join(",", span.<String[]>getFieldAs(8)));
    return String.join(" ", words);
  }

  private static String none(String text) {
    return text.equals("-") ? null : text;
  }

  private static String path(List<Row> rows) {
    for (var row : rows) if (PATHS.containsKey(row.<Byte>getFieldAs(0))) return PATHS.get(row.<Byte>getFieldAs(0));
    var live = Clicks.ofKind(UserHistory.LIVE, rows).get(0);
    var counters = ByteBuffer.wrap(live.getFieldAs(1)).order(ByteOrder.LITTLE_ENDIAN);
    var words = new ArrayList<String>();
    for (int i = 0; i < 9; i++) words.add(String.valueOf(counters.getLong(8 * i)));
    return String.join(" ", words) + " " + live.getField(2);
  }
}
