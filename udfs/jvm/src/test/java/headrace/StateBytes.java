package headrace;

import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.conversion.DataStructureConverter;
import org.apache.flink.table.data.conversion.DataStructureConverters;
import org.apache.flink.table.runtime.typeutils.InternalSerializers;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.extraction.DataTypeExtractor;

/**
 * A state class as Flink keeps it: a row of its fields' values, and a snapshot of the row's serializer.
 *
 * <p>`main` prints what today's classes write, a line `NAME snapshot value` each, in base64. A release that has a new
 * state class adds its line to a file state-VERSION.txt in src/test/resources: StateLayoutTest restores it for ever.
 */
final class StateBytes {
  static final List<Class<?>> CLASSES = List.of(UserHistory.User.class, Baskets.User.class, Totals.Total.class,
      Together.Item.class, ArmSums.Arm.class, Intake.Round.class, Intake.Held.class,
      Fold.Model.class);
  private final DataType type;
  final TypeSerializer<RowData> serializer;

  StateBytes(Class<?> state) {
    type = DataTypeExtractor.extractFromType(null, state); // the factory makes raw types, and no state has one
    serializer = InternalSerializers.create(type.getLogicalType());
  }

  public static void main(String[] none) throws Exception {
    for (var each : CLASSES) {
      var bytes = new StateBytes(each);
      System.out.println(each.getName() + " " + base64(bytes.snapshot()) + " " + base64(bytes.write(filled(each))));
    }
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  byte[] write(Object state) throws Exception {
    var out = new DataOutputSerializer(64);
    serializer.serialize((RowData) converter().toInternalOrNull(state), out);
    return out.getCopyOfBuffer();
  }

  Object read(byte[] bytes) throws Exception {
    return converter().toExternalOrNull(serializer.deserialize(new DataInputDeserializer(bytes)));
  }

  private DataStructureConverter<Object, Object> converter() {
    var converter = DataStructureConverters.getConverter(type);
    converter.open(StateBytes.class.getClassLoader());
    return converter;
  }

  byte[] snapshot() throws Exception {
    var out = new DataOutputSerializer(64);
    TypeSerializerSnapshot.writeVersionedSnapshot(out, serializer.snapshotConfiguration());
    return out.getCopyOfBuffer();
  }

  /** Whether Flink restores state that was written with the serializer of this snapshot. */
  boolean canRestore(byte[] snapshot) throws Exception {
    var loader = StateBytes.class.getClassLoader();
    TypeSerializerSnapshot<RowData> old =
        TypeSerializerSnapshot.readVersionedSnapshot(new DataInputDeserializer(snapshot), loader);
    return serializer.snapshotConfiguration().resolveSchemaCompatibility(old).isCompatibleAsIs();
  }

  /** An instance whose fields differ from each other and from a new one's. */
  static Object filled(Class<?> state) throws Exception {
    var object = state.getConstructor().newInstance();
    int n = 0;
    for (var field : fields(state)) field.set(object, value(field.getType(), ++n));
    return object;
  }

  static List<Field> fields(Class<?> state) {
    return Arrays.stream(state.getFields()).sorted(Comparator.comparing(Field::getName)).toList();
  }

  private static Object value(Class<?> type, int n) {
    if (type == long.class) return 1L << 40 | n;
    if (type == int.class) return 1 << 20 | n;
    if (type == double.class || type == Double.class) return n + .25;
    if (type == boolean.class) return n % 2 == 0;
    if (type == String.class) return "é" + n;
    if (type == long[].class) return new long[] {n, -n};
    if (type == byte[].class) return new byte[] {(byte) n, -1, 0};
    throw new IllegalArgumentException("no value of " + type);
  }
}
