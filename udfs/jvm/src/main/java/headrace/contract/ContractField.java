package headrace.contract;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** One field of a schema with its limits. Bounds that the schema leaves out are those of the type. */
final class ContractField implements Serializable {
  private static final long serialVersionUID = 1;

  enum Kind {
    STRING("str"), LONG("int"), DOUBLE("float"), BOOLEAN("bool"), ENUM("str"), ARRAY("array"), MAP("object");

    /** As the messages of udfs/contract.py have it. */
    final String word;

    Kind(String word) {
      this.word = word;
    }
  }

  final String name;
  final byte[] key;
  final Kind kind;
  final Kind items; // of an array or a map
  final boolean optional;
  byte[][] symbols = {};
  long least = Long.MIN_VALUE; // of a long
  long most = Long.MAX_VALUE;
  int shortest = 0; // of a string, in code points
  int longest = Integer.MAX_VALUE; // of a string in code points, or of an array in items
  double low = Double.NEGATIVE_INFINITY; // of a double
  double high = Double.POSITIVE_INFINITY;
  boolean lowIsOutside; // exclusiveMinimum

  ContractField(String name, Kind kind, Kind items, boolean optional) {
    this.name = name;
    this.key = name.getBytes(StandardCharsets.UTF_8);
    this.kind = kind;
    this.items = items;
    this.optional = optional;
  }

  /** The place of a symbol, or -1. */
  int symbol(byte[] text, int start, int length) {
    for (int place = 0; place < symbols.length; place++) {
      byte[] symbol = symbols[place];
      if (Arrays.equals(text, start, start + length, symbol, 0, symbol.length)) return place;
    }
    return -1;
  }
}
