package headrace.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class ContractSchemaTest {
  private static String error(String text) {
    return assertThrows(IllegalArgumentException.class, () -> ContractSchema.parse(text)).getMessage();
  }

  private static String field(String rest) {
    return error("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"," + rest + "}]}");
  }

  @Test
  void aTextThatIsNoRecordIsRefused() {
    assertEquals("must be the text of an .avsc, which is JSON, got '{\"type\"'", error("{\"type\""));
    assertEquals("must be a record with fields, got '\"string\"'", error("\"string\""));
    assertEquals("must be a record with fields, got ''", error(""));
    assertEquals("must have at least one field, got '{\"type\":\"record\",\"fields\":[]}'", error("{\"type\":\"record\",\"fields\":[]}"));
    String twice = "{\"type\":\"record\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},{\"name\":\"a\",\"type\":\"long\"}]}";
    assertEquals("must have each field once, got 'a' again", error(twice));
  }

  @Test
  void aTypeThatTheFormatDoesNotKnowIsRefused() {
    String rule = "field 'a': the type must be string, long, double, boolean, an enum, or an array or map of the first four, got ";
    assertEquals(rule + "\"int\"", field("\"type\":\"int\""));
    assertEquals(rule + "{\"type\":\"array\",\"items\":\"long\"}", field("\"type\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"long\"}}"));
    assertEquals("field 'a': a union must be of null and one type, got [\"string\",\"null\"]", field("\"type\":[\"string\",\"null\"]"));
    assertEquals("field 'a': an enum must have 1 to 127 symbols, got []", field("\"type\":{\"type\":\"enum\",\"symbols\":[]}"));
  }

  @Test
  void aLimitThatItsFieldCannotHaveIsRefused() {
    assertEquals("field 'a': maxLength must be of a field of STRING, got 3", field("\"type\":\"long\",\"maxLength\":3"));
    assertEquals("field 'a': minimum must be a whole number, got 0.5", field("\"type\":\"long\",\"minimum\":0.5"));
    assertEquals("field 'a': maxLength must be 0 to 2147483647, got -1", field("\"type\":\"string\",\"maxLength\":-1"));
    assertEquals("field 'a': maximum must be a number, got \"9\"", field("\"type\":\"double\",\"maximum\":\"9\""));
    assertEquals("field 'a': pattern is no limit that the format knows, got \"x\"", field("\"type\":\"string\",\"pattern\":\"x\""));
    assertEquals("field 'a': minimum and exclusiveMinimum must not both be there, got 1", field("\"type\":\"long\",\"minimum\":1,\"exclusiveMinimum\":1"));
  }
}
