package headrace.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** TLS: the certificate must be trusted and carry the server's name. */
class RedisTlsTest {
  private static final String STRINGS = "key STRING, value STRING";
  @TempDir Path folder;

  /** Makes NAME.pem and NAME.key: a self-signed certificate for an address or a host. */
  private Path certificate(String name, String subject) throws Exception {
    int code =
        new ProcessBuilder(
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "2", "-subj", "/CN=redis", "-addext", "subjectAltName=" + subject, "-keyout", name + ".key", "-out",
                name + ".pem")
            .directory(folder.toFile()).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start().waitFor();
    assertEquals(0, code);
    return folder.resolve(name + ".pem");
  }

  private RedisServer server(Path certificate) throws Exception {
    int port = RedisServer.freePort();
    var key = certificate.toString().replace(".pem", ".key");
    return new RedisServer(
        folder, port, Map.of("tls", "true", "ca-file", certificate.toString()), "--port", "0", "--tls-port", "" + port,
        "--tls-cert-file", certificate.toString(), "--tls-key-file", key, "--tls-ca-cert-file", certificate.toString(),
        "--tls-auth-clients", "no");
  }

  @Test
  void valuesGoThroughTlsAlsoAfterARestart() throws Exception {
    var certificate = certificate("ca", "IP:127.0.0.1");
    var large = "x".repeat(2_000_000);
    try (var redis = server(certificate);
        var writer = new RowWriter(redis, STRINGS, "tls=true", "ca-file=" + certificate, "timeout-ms=300")) {
      writer.write("k", large);
      writer.flush();
      redis.signal("STOP");
      for (int i = 0; i < 4; i++) writer.write("k" + i, large);
      redis.kill();
      redis.start();
      writer.flush();
      for (int i = 0; i < 4; i++) assertEquals(large.length(), redis.number("STRLEN", "k" + i));
    }
  }

  @Test
  void aCertificateThatNobodyVouchesForIsRefused() throws Exception {
    var certificate = certificate("ca", "IP:127.0.0.1");
    var other = certificate("other", "IP:127.0.0.1");
    try (var redis = server(certificate)) {
      for (var options : new String[][] {{"tls=true"}, {"tls=true", "ca-file=" + other}}) {
        var error = assertThrows(RefusedException.class, () -> new RowWriter(redis, STRINGS, options));
        assertTrue(error.getMessage().contains("certificate"), error.getMessage());
      }
    }
  }

  @Test
  void aCertificateOfAnotherHostIsRefused() throws Exception {
    var certificate = certificate("ca", "DNS:redis.example");
    int port = RedisServer.freePort();
    var process =
        new ProcessBuilder(
                "redis-server", "--port", "0", "--tls-port", "" + port, "--tls-cert-file", "ca.pem", "--tls-key-file",
                "ca.key", "--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no", "--save", "")
            .directory(folder.toFile()).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      var options =
          Map.of("host", "127.0.0.1", "port", "" + port, "tls", "true", "ca-file", certificate.toString());
      var error = assertThrows(RefusedException.class, () -> new RowWriter(STRINGS, 0, 1, options));
      assertTrue(error.getMessage().contains("127.0.0.1"), error.getMessage());
    } finally {
      process.destroyForcibly().waitFor();
    }
  }
}
