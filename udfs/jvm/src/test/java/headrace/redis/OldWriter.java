package headrace.redis;

import java.io.BufferedReader;
import java.io.InputStreamReader;

/**
 * An attempt in a process of its own, which a test can stop and let go on. For each line `PORT OWNER VALUES BYTES` it
 * takes over, says `writing`, and writes values that are OLD until a newer attempt ends it; then it says `ended`.
 */
final class OldWriter {
  static final String COLUMNS = "key STRING, value STRING";

  public static void main(String[] arguments) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      var words = line.split(" ");
      System.out.println(attempt(words[0], words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3])));
    }
  }

  private static String attempt(String port, String owner, int keys, int bytes) throws Exception {
    var options =
        new java.util.HashMap<>(
            java.util.Map.of("host", "127.0.0.1", "port", port, "timeout-ms", "1000", "linger-ms", "0"));
    if (!owner.equals("-")) options.put("owner", owner);
    var value = "x".repeat(bytes);
    try (var writer = new RowWriter(COLUMNS, 0, 1, options)) {
      System.out.println("writing");
      long end = System.currentTimeMillis() + 20_000;
      for (int i = 0; System.currentTimeMillis() < end; i++) writer.write("k" + i % keys, "OLD" + value);
      return "not ended";
    } catch (RefusedException replaced) {
      return "ended";
    }
  }
}
