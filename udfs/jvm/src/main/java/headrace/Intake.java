package headrace;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * The frames of one federated round, kept in the JVM until their cohort is known (docs/federated.md, "What Flink
 * checks").
 *
 * <p>Three kinds of rows come in: what the coordinator says about the round, a cohort, an authentic frame. Three kinds
 * go out: a node whose chunks have all arrived (RECEIVED), a frame that is refused (REFUSED), and the sum of a cohort's
 * chunk (SUMMED). After a round is over only its status is kept, for as long as KEPT.
 */
@DataTypeHint(
    "ROW<kind TINYINT, node STRING, chunk BIGINT, chunks BIGINT, append_ms BIGINT, attempt BIGINT, bucket BIGINT,"
        + " buckets BIGINT, nodes ARRAY<STRING>, ciphertext STRING, `key` BYTES, `value` BYTES, `partition` INT,"
        + " `offset` BIGINT, reason STRING, detail STRING>")
public class Intake extends ProcessTableFunction<Row> {
  static final byte RECEIVED = 0, REFUSED = 1, SUMMED = 2;
  static final byte ROUND = 0, COHORT = 1, FRAME = 2;
  static final String KEPT = "7 d";
  private static final int COLUMNS = 16;

  /** The savepoint's schema (see UserHistory.User), as is Held. */
  public static class Round {
    public String status; // null before the coordinator's record has arrived
    public long chunks, deadline;
    public String keyId, parameters;
    public long attempt = -1; // of the last cohort
    public long frames; // accepted so far
  }

  /** A frame that arrived before its round. */
  public static class Held {
    public String node, keyId, parameters;
    public long chunk, chunks, offset, appendMs; // the broker's time
    public int partition;
    public byte[] key, value;
  }

  /** The state of a round; `eval` says what each part holds. */
  private record Kept(
      Round round,
      MapView<Long, byte[]> frames,
      MapView<String, Long> numbers,
      MapView<String, Long> counts,
      MapView<String, Held> held,
      MapView<String, Boolean> invited,
      MapView<String, String> cohorts) {}

  private transient Counter accepted, repeats, refused;
  private transient long holdMs, modulus;
  private transient int bodyBytes, macBytes;

  @Override
  public void open(FunctionContext context) {
    holdMs = UserHistory.setting(context, "hold_ms");
    modulus = UserHistory.setting(context, "modulus");
    bodyBytes = (int) UserHistory.setting(context, "body_bytes");
    macBytes = (int) UserHistory.setting(context, "mac_bytes");
    var metrics = context.getMetricGroup().addGroup("headrace");
    accepted = metrics.counter("frames_accepted");
    repeats = metrics.counter("frames_repeated");
    refused = metrics.counter("frames_refused");
  }

  /**
   * @param frames by number, in the order of arrival: so RocksDB has nothing to sort, and writes each frame once
   * @param numbers the number of each frame, by chunk/node
   * @param counts by node: how many chunks have arrived
   * @param held frames that wait for their round, by partition/offset
   * @param invited the nodes, once the round is known
   * @param cohorts by attempt/bucket/buckets: the nodes, one per line, of each cohort that waits for frames
   * @param input kind, status, node, chunk, chunks, key_id, parameters, deadline_ms, nodes, attempt, bucket, buckets,
   *     key, value, partition, offset
   */
  public void eval(
      Context context,
      @StateHint(ttl = KEPT) Round round,
      @StateHint(ttl = KEPT) MapView<Long, byte[]> frames,
      @StateHint(ttl = KEPT) MapView<String, Long> numbers,
      @StateHint(ttl = KEPT) MapView<String, Long> counts,
      @StateHint(ttl = KEPT) MapView<String, Held> held,
      @StateHint(ttl = KEPT) MapView<String, Boolean> invited,
      @StateHint(ttl = KEPT) MapView<String, String> cohorts,
      @ArgumentHint({ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME}) Row input)
      throws Exception {
    var kept = new Kept(round, frames, numbers, counts, held, invited, cohorts);
    switch ((Byte) input.getField("kind")) {
      case ROUND -> round(kept, input);
      case COHORT -> cohort(kept, input);
      default -> {
        var frame = held(input, context.timeContext(Long.class).time());
        if (round.status == null) {
          held.put(frame.partition + "/" + frame.offset, frame);
          context.timeContext(Long.class).registerOnTime(frame.appendMs + holdMs);
        } else judge(kept, frame);
      }
    }
  }

  /** Refuses the frames that were held for as long as holdMs, because nobody opened their round. */
  public void onTimer(
      OnTimerContext context,
      Round round,
      MapView<Long, byte[]> frames,
      MapView<String, Long> numbers,
      MapView<String, Long> counts,
      MapView<String, Held> held,
      MapView<String, Boolean> invited,
      MapView<String, String> cohorts)
      throws Exception {
    long now = context.timeContext(Long.class).time();
    for (var frame : listed(held)) {
      if (frame.appendMs + holdMs > now) continue;
      held.remove(frame.partition + "/" + frame.offset);
      refuse(frame, "no round", "the round must be open, it is unknown " + holdMs + " ms after the frame");
    }
  }

  private void round(Kept kept, Row input) throws Exception {
    var round = kept.round;
    if (round.status != null && !round.status.equals("open")) return;
    boolean isNew = round.status == null;
    round.status = (String) input.getField("status");
    if (!round.status.equals("open")) {
      kept.frames.clear();
      kept.numbers.clear();
      kept.counts.clear();
      kept.invited.clear();
      kept.cohorts.clear();
    } else if (isNew) {
      round.chunks = (Long) input.getField("chunks");
      round.deadline = (Long) input.getField("deadline_ms");
      round.keyId = (String) input.getField("key_id");
      round.parameters = (String) input.getField("parameters");
      for (var node : (String[]) input.getField("nodes")) kept.invited.put(node, true);
    }
    for (var frame : listed(kept.held)) judge(kept, frame);
    kept.held.clear();
  }

  private static List<Held> listed(MapView<String, Held> held) throws Exception {
    var all = new ArrayList<Held>();
    for (var frame : held.values()) all.add(frame);
    all.sort((a, b) -> Long.compare(a.offset, b.offset)); // frames of one chunk are in one partition, so in order
    return all;
  }

  private void judge(Kept kept, Held frame) throws Exception {
    var round = kept.round;
    if (!round.status.equals("open")) {
      refuse(frame, "round over", "the round must be open, it is " + round.status);
      return;
    }
    var number = kept.numbers.get(place(frame.chunk, frame.node));
    if (number != null && Arrays.equals(kept.frames.get(number), frame.value)) {
      repeats.inc();
      return;
    }
    if (!kept.invited.contains(frame.node))
      refuse(frame, "not invited", "node must be invited to the round, got " + frame.node);
    else if (!frame.keyId.equals(round.keyId))
      refuse(frame, "wrong key id", "key id must be " + round.keyId + ", got " + frame.keyId);
    else if (!frame.parameters.equals(round.parameters))
      refuse(frame, "wrong parameters", "parameters must be " + round.parameters + ", got " + frame.parameters);
    else if (frame.chunks != round.chunks)
      refuse(frame, "wrong chunks", "chunks must be " + round.chunks + ", got " + frame.chunks);
    else if (number != null)
      refuse(frame, "second frame", "a node has one frame a chunk, got another of " + frame.node);
    else if (frame.appendMs > round.deadline)
      refuse(frame, "late",
          "the broker's time must be <= " + round.deadline + ", the round's deadline, got " + frame.appendMs);
    else accept(kept, frame);
  }

  private static String place(long chunk, String node) {
    return chunk + "/" + node;
  }

  private void accept(Kept kept, Held frame) throws Exception {
    kept.numbers.put(place(frame.chunk, frame.node), kept.round.frames);
    kept.frames.put(kept.round.frames++, frame.value);
    accepted.inc();
    var before = kept.counts.get(frame.node);
    long count = before == null ? 1 : before + 1;
    kept.counts.put(frame.node, count);
    if (count < frame.chunks) return;
    collect(row(RECEIVED, frame.node, null, frame.chunks, frame.appendMs));
    var waiting = new ArrayList<String>();
    for (var name : kept.cohorts.keys()) waiting.add(name);
    for (var name : waiting) {
      if (sum(kept, name, kept.cohorts.get(name).split("\n"))) kept.cohorts.remove(name);
    }
  }

  private void cohort(Kept kept, Row input) throws Exception {
    var round = kept.round;
    if (round.status != null && !round.status.equals("open")) return;
    long attempt = (Long) input.getField("attempt");
    if (attempt > round.attempt) kept.cohorts.clear();
    round.attempt = Math.max(round.attempt, attempt);
    var name = attempt + "/" + input.getField("bucket") + "/" + input.getField("buckets");
    var nodes = (String[]) input.getField("nodes");
    if (!sum(kept, name, nodes)) kept.cohorts.put(name, String.join("\n", nodes));
  }

  /** Sums the chunks of a cohort. False, without a sum, while frames of a node are missing. */
  private boolean sum(Kept kept, String name, String[] nodes) throws Exception {
    long chunks = kept.round.chunks;
    for (var node : nodes) {
      var count = kept.counts.get(node);
      if (count == null || count < chunks) return false;
    }
    var parts = name.split("/");
    long attempt = Long.parseLong(parts[0]), bucket = Long.parseLong(parts[1]), buckets = Long.parseLong(parts[2]);
    for (long chunk = 0; chunk < chunks; chunk++) {
      var sum = new Ciphertexts(modulus, bodyBytes);
      for (var node : nodes) {
        var frame = kept.frames.get(kept.numbers.get(place(chunk, node)));
        sum.add(frame, frame.length - macBytes);
      }
      collect(row(SUMMED, null, chunk, chunks, null, attempt, bucket, buckets, nodes, sum.base64()));
    }
    return true;
  }

  private void refuse(Held frame, String reason, String detail) {
    refused.inc();
    collect(row(REFUSED, frame.node, frame.chunk, null, frame.appendMs, null, null, null, null, null,
        frame.key, frame.value, frame.partition, frame.offset, reason, detail));
  }

  /** A row out, from its first columns. The columns after them are null. */
  private static Row row(byte kind, Object... columns) {
    var row = new Row(COLUMNS);
    row.setField(0, kind);
    for (int i = 0; i < columns.length; i++) row.setField(1 + i, columns[i]);
    return row;
  }

  private static Held held(Row input, long appendMs) {
    var frame = new Held();
    frame.node = (String) input.getField("node");
    frame.keyId = (String) input.getField("key_id");
    frame.parameters = (String) input.getField("parameters");
    frame.chunk = (Long) input.getField("chunk");
    frame.chunks = (Long) input.getField("chunks");
    frame.key = (byte[]) input.getField("key");
    frame.value = (byte[]) input.getField("value");
    frame.partition = (Integer) input.getField("partition");
    frame.offset = (Long) input.getField("offset");
    frame.appendMs = appendMs;
    return frame;
  }
}
