package headrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * An item of a slate: its impression with what the feedback so far makes of it, or the feedback that waits for it.
 *
 * <p>Layout of write(), little-endian. A first byte says what follows. WAITING: per feedback action u8, first u8, t
 * i64, append_ms i64. SHOWN: append_ms, t, as_of_ms i64; lowest, kept, highest f64; became i8; position i64; propensity f64;
 * surface, policy, model_version, encoder_version, each as length i16 (-1: null) and UTF-8; x. A new layout is a new
 * first byte; one that is in use never changes.
 */
final class SlateItem {
  private static final byte WAITING = 0, SHOWN = 1;
  private static final int FEEDBACK = 18, HEAD = 1 + 6 * 8 + 1 + 16;
  static final int MOST_WAITING = 1_000; // so that nobody fills the state with feedback on what was never shown

  /** Feedback on the item; first: it is the first event of its session. */
  record Feedback(byte action, boolean first, long t, long appendMs) {}

  boolean shown;
  final List<Feedback> waiting = new ArrayList<>();
  long appendMs, t, asOf, position;
  double lowest, kept, highest, propensity;
  byte became = RewardTable.NOTHING;
  String surface, policy, modelVersion, encoderVersion;
  byte[] x = {};

  /**
   * Whether the feedback counts. Its clock or the impression's is wrong where it seems to come before the impression.
   * Then the broker's clock says what has elapsed.
   */
  boolean apply(Feedback feedback, RewardTable table) {
    long elapsedMs = feedback.t - t;
    if (elapsedMs < 0) elapsedMs = feedback.appendMs - appendMs;
    if (!table.counts(elapsedMs)) return false;
    double reward = table.reward(feedback.action, elapsedMs, feedback.first);
    lowest = Math.min(lowest, reward);
    highest = Math.max(highest, reward);
    if (!table.returnable(feedback.action)) kept = Math.max(kept, reward);
    became = (byte) Math.max(became, table.became(feedback.action));
    asOf = Math.max(asOf, feedback.appendMs);
    return true;
  }

  double reward() {
    if (lowest < 0) return lowest;
    return became == RewardTable.GIVEN_BACK || became == RewardTable.TAKEN_OUT ? kept : highest;
  }

  static SlateItem read(byte[] bytes) {
    var item = new SlateItem();
    if (bytes == null) return item;
    var buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    item.shown = buffer.get() == SHOWN;
    if (item.shown) item.readShown(buffer);
    else while (buffer.hasRemaining())
      item.waiting.add(new Feedback(buffer.get(), buffer.get() == 1, buffer.getLong(), buffer.getLong()));
    return item;
  }

  private void readShown(ByteBuffer buffer) {
    appendMs = buffer.getLong();
    t = buffer.getLong();
    asOf = buffer.getLong();
    lowest = buffer.getDouble();
    kept = buffer.getDouble();
    highest = buffer.getDouble();
    became = buffer.get();
    position = buffer.getLong();
    propensity = buffer.getDouble();
    surface = text(buffer);
    policy = text(buffer);
    modelVersion = text(buffer);
    encoderVersion = text(buffer);
    x = new byte[buffer.remaining()];
    buffer.get(x);
  }

  byte[] write() {
    return shown ? writeShown() : writeWaiting();
  }

  private byte[] writeWaiting() {
    var buffer = ByteBuffer.allocate(1 + FEEDBACK * waiting.size()).order(ByteOrder.LITTLE_ENDIAN).put(WAITING);
    for (var each : waiting)
      buffer.put(each.action).put((byte) (each.first ? 1 : 0)).putLong(each.t).putLong(each.appendMs);
    return buffer.array();
  }

  private byte[] writeShown() {
    var texts = List.of(bytes(surface), bytes(policy), bytes(modelVersion), bytes(encoderVersion));
    int size = HEAD + x.length + texts.stream().mapToInt(text -> 2 + text.length).sum();
    var buffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN).put(SHOWN);
    buffer.putLong(appendMs).putLong(t).putLong(asOf).putDouble(lowest).putDouble(kept).putDouble(highest);
    buffer.put(became).putLong(position).putDouble(propensity);
    for (int i = 0; i < texts.size(); i++) {
      boolean absent = i == 3 && encoderVersion == null;
      buffer.putShort(absent ? -1 : (short) texts.get(i).length).put(texts.get(i));
    }
    return buffer.put(x).array();
  }

  private static byte[] bytes(String text) {
    return text == null ? new byte[0] : text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(ByteBuffer buffer) {
    int length = buffer.getShort();
    if (length < 0) return null;
    var bytes = new byte[length];
    buffer.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
