package headrace.redis;

import headrace.redis.WriteOptions.Kind;
import java.io.Serializable;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeFamily;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/** Which column of a table has which part in a command: by its name. */
final class Columns implements Serializable {
  enum Role {
    KEY(true, Kind.SET, Kind.HSET, Kind.ZADD),
    FIELD(true, Kind.HSET),
    MEMBER(true, Kind.ZADD),
    SCORE(false, Kind.ZADD),
    VALUE(true, Kind.SET, Kind.HSET),
    EXPIRE_AT_MS(false, Kind.SET),
    AS_OF_MS(false, Kind.SET, Kind.HSET, Kind.ZADD);

    private final boolean bytes; // STRING or BYTES; else BIGINT
    private final List<Kind> commands;

    Role(boolean bytes, Kind... commands) {
      this.bytes = bytes;
      this.commands = List.of(commands);
    }

    boolean required() {
      return this != EXPIRE_AT_MS && this != AS_OF_MS;
    }

    boolean isOf(Kind command) {
      return commands.contains(command);
    }

    String column() {
      return name().toLowerCase();
    }

    private boolean takes(LogicalType type) {
      return bytes
          ? type.is(LogicalTypeFamily.CHARACTER_STRING) || type.is(LogicalTypeFamily.BINARY_STRING)
          : type.is(LogicalTypeRoot.BIGINT);
    }

    private String types() {
      return bytes ? "STRING or BYTES" : "BIGINT";
    }
  }

  private final int[] places = new int[Role.values().length];
  private final boolean[] text = new boolean[Role.values().length]; // STRING, not BYTES

  private Columns(Map<Role, Integer> placed, RowType row) {
    Arrays.fill(places, -1);
    placed.forEach(
        (role, place) -> {
          places[role.ordinal()] = place;
          text[role.ordinal()] = row.getTypeAt(place).is(LogicalTypeFamily.CHARACTER_STRING);
        });
  }

  /** Throws ValidationException when a column is missing, unknown for the command, or of another type. */
  static Columns of(RowType row, Kind command) {
    var roles = Arrays.stream(Role.values()).filter(role -> role.isOf(command)).toList();
    var placed = new EnumMap<Role, Integer>(Role.class);
    for (var name : row.getFieldNames()) {
      var role = roles.stream().filter(each -> each.column().equals(name)).findFirst();
      if (role.isEmpty()) throw new ValidationException(unknown(name, roles, command));
      int place = row.getFieldIndex(name);
      var type = row.getTypeAt(place);
      if (!role.get().takes(type))
        throw new ValidationException(
            "redis: column '" + name + "' must be " + role.get().types() + ", got " + type.asSummaryString());
      placed.put(role.get(), place);
    }
    for (var role : roles)
      if (role.required() && !placed.containsKey(role))
        throw new ValidationException(
            "redis: 'command' = '" + command + "' needs a column '" + role.column() + "' " + role.types()
                + ", got the columns " + String.join(", ", row.getFieldNames()));
    return new Columns(placed, row);
  }

  private static String unknown(String name, List<Role> roles, Kind command) {
    return "redis: a column for 'command' = '" + command + "' must be one of "
        + roles.stream().map(Role::column).collect(Collectors.joining(", ")) + ", got '" + name + "'";
  }

  /** A copy of the bytes, or null. */
  byte[] bytes(RowData row, Role role) {
    int place = places[role.ordinal()];
    if (place < 0 || row.isNullAt(place)) return null;
    return text[role.ordinal()] ? row.getString(place).toBytes() : row.getBinary(place);
  }

  /** @return `missing` without the column or a value */
  long number(RowData row, Role role, long missing) {
    int place = places[role.ordinal()];
    return place < 0 || row.isNullAt(place) ? missing : row.getLong(place);
  }

  boolean isNull(RowData row, Role role) {
    return places[role.ordinal()] < 0 || row.isNullAt(places[role.ordinal()]);
  }
}
