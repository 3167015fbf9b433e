package headrace.redis;

import headrace.redis.Columns.Role;
import java.io.Serializable;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.RowKind;

/** From a row to what it writes. */
final class RowCommands implements Serializable {
  /** A row that can not be written, and the kind of the reason. */
  static final class Refused extends Exception {
    final String kind;

    Refused(String kind, String message) {
      super(message, null, false, false);
      this.kind = kind;
    }
  }

  static final int LONGEST_VALUE = 512 << 20; // bytes, Redis's own limit
  private static final long LARGEST_SCORE = 1L << 53; // scores are doubles
  private static final byte[] SET = word("SET"), UNLINK = word("UNLINK"), PXAT = word("PXAT");
  private static final byte[] HSET = word("HSET"), HSETNX = word("HSETNX"), HDEL = word("HDEL"), NX = word("NX");
  private final Columns columns;
  private final WriteOptions options;
  private final byte[] prefix;

  RowCommands(Columns columns, WriteOptions options) {
    this.columns = columns;
    this.options = options;
    prefix = RespBuffer.utf8(options.keyPrefix());
  }

  private static byte[] word(String word) {
    return new RespBuffer(16).bulk(RespBuffer.utf8(word)).toBytes();
  }

  /** The key of a row, with its prefix. Its bytes are not the row's. */
  Key key(RowData row) throws Refused {
    var key = named(row, Role.KEY);
    var name = new byte[prefix.length + key.length];
    System.arraycopy(prefix, 0, name, 0, prefix.length);
    System.arraycopy(key, 0, name, prefix.length, key.length);
    return new Key(name, options.command() == WriteOptions.Kind.HSET ? named(row, Role.FIELD).clone() : null);
  }

  private byte[] named(RowData row, Role role) throws Refused {
    var bytes = columns.bytes(row, role);
    if (bytes == null) throw new Refused("null", "column '" + role.column() + "' must not be NULL");
    if (bytes.length > LONGEST_VALUE) throw tooLong(role, bytes);
    return bytes;
  }

  private static Refused tooLong(Role role, byte[] bytes) {
    return new Refused(
        "size", "column '" + role.column() + "' must have <= " + LONGEST_VALUE + " bytes, got " + bytes.length);
  }

  /** Whether the row's time is over: what it would write has expired already. */
  boolean isOver(RowData row, long nowMs) {
    return columns.number(row, Role.EXPIRE_AT_MS, Long.MAX_VALUE) <= nowMs;
  }

  Change change(Key key, RowData row) throws Refused {
    long asOfMs = columns.number(row, Role.AS_OF_MS, Change.NEVER);
    if (options.command() == WriteOptions.Kind.ZADD) return members(key, row, asOfMs);
    var value = row.getRowKind() == RowKind.DELETE ? null : columns.bytes(row, Role.VALUE);
    if (value != null && value.length > LONGEST_VALUE) throw tooLong(Role.VALUE, value);
    if (value == null && options.ifAbsent())
      throw new Refused("null", "column 'value' must not be NULL with 'if-absent'");
    return new Change.Absolute(
        options.command() == WriteOptions.Kind.SET ? string(key, value, row) : field(key, value, row), asOfMs);
  }

  private Change members(Key key, RowData row, long asOfMs) throws Refused {
    var member = named(row, Role.MEMBER).clone();
    if (columns.isNull(row, Role.SCORE)) throw new Refused("null", "column 'score' must not be NULL");
    long score = columns.number(row, Role.SCORE, 0);
    if (Math.abs(score) > LARGEST_SCORE || score == Long.MIN_VALUE)
      throw new Refused("score", "column 'score' must be within 2^53 of 0, got " + score);
    return new Members(key.name, options.maxMembers(), member, score, asOfMs);
  }

  private byte[] string(Key key, byte[] value, RowData row) {
    if (value == null) return new RespBuffer(64).array(2).append(UNLINK).bulk(key.name).toBytes();
    long expireAtMs = columns.number(row, Role.EXPIRE_AT_MS, Long.MAX_VALUE);
    boolean expires = expireAtMs != Long.MAX_VALUE;
    var command = new RespBuffer(80 + key.name.length + value.length);
    command.array(3 + (expires ? 2 : 0) + (options.ifAbsent() ? 1 : 0)).append(SET).bulk(key.name).bulk(value);
    if (expires) command.append(PXAT).bulk(expireAtMs);
    if (options.ifAbsent()) command.append(NX);
    return command.toBytes();
  }

  private byte[] field(Key key, byte[] value, RowData row) {
    var field = columns.bytes(row, Role.FIELD);
    if (value == null) return new RespBuffer(64).array(3).append(HDEL).bulk(key.name).bulk(field).toBytes();
    return new RespBuffer(80 + key.name.length + field.length + value.length)
        .array(4).append(options.ifAbsent() ? HSETNX : HSET).bulk(key.name).bulk(field).bulk(value).toBytes();
  }
}
