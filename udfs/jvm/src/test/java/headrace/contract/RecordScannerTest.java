package headrace.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** One below, at, and one above each limit; tests/udfs/test_contract_jvm.py compares the rest with Python. */
class RecordScannerTest {
  private static final String FIELDS =
      """
      {"type": "record", "name": "R", "fields": [
        {"name": "text", "type": ["null", "string"], "minLength": 2, "maxLength": 3},
        {"name": "at_ms", "type": ["null", "long"], "minimum": 10, "maximum": 20},
        {"name": "above", "type": ["null", "long"], "exclusiveMinimum": 10},
        {"name": "real", "type": ["null", "double"], "exclusiveMinimum": 0, "maximum": 1e10},
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "K", "symbols": ["a", "b"]}]},
        {"name": "reals", "type": ["null", {"type": "array", "items": "double"}], "maxItems": 2},
        {"name": "counts", "type": ["null", {"type": "map", "values": "long"}]}]}
      """;
  private final RecordScanner scanner = new RecordScanner(ContractSchema.parse(FIELDS));

  private String fault(String record) {
    scanner.scan(record.getBytes(StandardCharsets.UTF_8));
    return scanner.reason == null ? null : scanner.reason + " " + scanner.detail;
  }

  private void assertGood(String... records) {
    for (String record : records) assertNull(fault(record), record);
  }

  @Test
  void aTextIsMeasuredInCodePoints() {
    assertGood("{'text':'ab'}".replace('\'', '"'), "{\"text\":\"\uD83D\uDE00é€\"}", "{\"text\":\"\\ud83d\\ude00\\u0000\"}");
    assertEquals("value text: Expected `str` of length >= 2, got 'é'", fault("{\"text\":\"é\"}"));
    assertEquals("value text: Expected `str` of length <= 3, got '\uD83D\uDE00\uD83D\uDE00éa'", fault("{\"text\":\"\uD83D\uDE00\uD83D\uDE00éa\"}"));
    assertEquals("type text: Expected `str | null`, got True", fault("{\"text\":true}"));
  }

  @Test
  void aLongHasItsBorders() {
    assertGood("{\"at_ms\":10}", "{\"at_ms\":20}", "{\"at_ms\":2e1}", "{\"at_ms\":10.0}", "{\"above\":11}", "{\"above\":" + Long.MAX_VALUE + "}");
    String hint = ", which looks like seconds and should be milliseconds";
    assertEquals("value at_ms: Expected `int` >= 10, got 9" + hint, fault("{\"at_ms\":9}"));
    assertEquals("value at_ms: Expected `int` >= 10, got -1", fault("{\"at_ms\":-1}"));
    assertEquals("value at_ms: Expected `int` <= 20, got 21", fault("{\"at_ms\":21}"));
    assertEquals("value above: Expected `int` >= 11, got 10", fault("{\"above\":10}"));
    assertEquals("value above: Expected `int` <= 9223372036854775807, got 9223372036854775808", fault("{\"above\":9223372036854775808}"));
    assertEquals("value above: Expected `int` >= 11, got -9223372036854775809", fault("{\"above\":-9223372036854775809}"));
    assertEquals("type at_ms: Expected `int | null`, got 10.5", fault("{\"at_ms\":10.5}"));
    assertEquals("json at_ms: must be within float64, got 1e309", fault("{\"at_ms\":1e309}"));
  }

  @Test
  void aDoubleHasItsBorders() {
    assertGood("{\"real\":5e-324}", "{\"real\":1e10}", "{\"real\":10000000000}");
    assertEquals("value real: Expected `float` > 0.0, got 0", fault("{\"real\":0}"));
    assertEquals("value real: Expected `float` > 0.0, got 2e-324", fault("{\"real\":2e-324}"));
    assertEquals("value real: Expected `float` <= 10000000000.0, got 10000000000.000002", fault("{\"real\":10000000000.000002}"));
    assertEquals("json real: must be within float64, got -1e309", fault("{\"real\":-1e309}"));
  }

  @Test
  void anEnumAnArrayAndAMapNameWhatIsWrong() {
    assertGood("{\"kind\":\"b\",\"flag\":false,\"reals\":[1,2.5],\"counts\":{\"x\":1}}", "{\"reals\":[],\"counts\":{}}");
    assertEquals("value kind: Invalid enum value 'c'", fault("{\"kind\":\"c\"}"));
    assertEquals("value reals: Expected `array` of length <= 2, got an array of 7 bytes", fault("{\"reals\": [1,2,3] }"));
    assertEquals("type reals[1]: Expected `float`, got a string", fault("{\"reals\":[1,\"x\",2]}"));
    assertEquals("type counts[...]: Expected `int`, got a number", fault("{\"counts\":{\"x\":1,\"y\":1.0}}"));
    assertEquals("value counts[...]: Expected `int` of 64 bits", fault("{\"counts\":{\"x\":9223372036854775808}}"));
  }

  @Test
  void theLastOfTwoFieldsCounts() {
    assertGood("{\"at_ms\":1,\"at_ms\":15}", "{\"at_ms\":\"x\",\"at\\u005fms\":15}", "{\"at_ms\":1,\"at_ms\":null}");
    assertEquals(15, scan("{\"at_ms\":11,\"at_ms\":15}").longs[1]);
    assertTrue(fault("{\"at_ms\":15,\"at_ms\":1}").startsWith("value at_ms"));
  }

  private RecordScanner scan(String record) {
    assertGood(record);
    return scanner;
  }

  @Test
  void fiveHundredLevelsAreTheMost() {
    for (String[] pair : new String[][] {{"[", "]"}, {"{\"a\":", "}"}}) {
      assertGood("{\"x\":" + pair[0].repeat(499) + "0" + pair[1].repeat(499) + "}");
      assertTrue(fault("{\"x\":" + pair[0].repeat(500) + "0" + pair[1].repeat(500) + "}").startsWith("json JSON is nested more than 500 deep"));
      assertTrue(fault(pair[0].repeat(200_000)).startsWith("json"));
    }
    assertTrue(fault("{\"x\":1").startsWith("json JSON is truncated (byte 6)"));
    assertTrue(fault("{\"reals\":" + "[".repeat(499) + "]".repeat(499) + "}").startsWith("type reals[0]"));
    assertTrue(fault("{\"reals\":" + "[".repeat(500) + "]".repeat(500) + "}").startsWith("json"));
  }

  @Test
  void oneMebibyteIsTheMost() {
    String start = "{\"x\":\"";
    assertGood(start + "y".repeat(RecordScanner.MAX_BYTES - start.length() - 2) + "\"}");
    String large = fault(start + "y".repeat(RecordScanner.MAX_BYTES - start.length() - 1) + "\"}");
    assertEquals("size the record: must be <= 1048576 bytes, got 1048577", large);
  }

  @Test
  void aRefusedValueIsCut() {
    String detail = fault("{\"kind\":\"" + "é".repeat(79) + "\"}");
    assertEquals("value kind: Invalid enum value '" + "é".repeat(79) + "... (81 characters)", detail);
    assertEquals("value kind: Invalid enum value '" + "é".repeat(78) + "'", fault("{\"kind\":\"" + "é".repeat(78) + "\"}"));
  }

  @Test
  void whatIsNoRecordIsTold() {
    assertEquals("json the record has no value", scanner.scan(null) ? null : scanner.reason + " " + scanner.detail);
    assertEquals("type the record: Expected `object`, got an array of 2 bytes", fault(" [] "));
    scanner.scan(new byte[] {'"', (byte) 0xed, (byte) 0xa0, (byte) 0x80, '"'});
    assertEquals("json not UTF-8 (byte 1), got b'\"\\xed\\xa0\\x80\"'", scanner.reason + " " + scanner.detail);
  }

  @Test
  void boundsAreWrittenAsPythonWritesThem() {
    assertEquals("0.0", Words.real(0));
    assertEquals("-16.0", Words.real(-16));
    assertEquals("1000000000.0", Words.real(1e9));
    assertEquals("0.0001", Words.real(1e-4));
    assertEquals("1e-05", Words.real(1e-5));
    assertEquals("1.5e+16", Words.real(1.5e16));
    assertEquals("-1e+22", Words.real(-1e22));
  }
}
