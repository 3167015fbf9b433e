package headrace.redis;

import java.io.Serializable;

/** Where a server listens. */
record Address(String host, int port) implements Serializable {
  private static final int LAST_PORT = 65_535;

  /** From host:port, or [IPv6 address]:port. Null if the text is neither. */
  static Address parse(String text) {
    int colon = text.lastIndexOf(':');
    if (colon < 1 || !text.substring(colon + 1).matches("\\d{1,5}")) return null;
    var host = text.substring(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) host = host.substring(1, host.length() - 1);
    else if (host.contains(":")) return null;
    int port = Integer.parseInt(text.substring(colon + 1));
    return host.isBlank() || port < 1 || port > LAST_PORT ? null : new Address(host, port);
  }

  @Override
  public String toString() {
    return host.contains(":") ? "[" + host + "]:" + port : host + ":" + port;
  }
}
