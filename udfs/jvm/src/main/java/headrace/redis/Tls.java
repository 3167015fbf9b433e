package headrace.redis;

import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

/** TLS over a connected socket. The server's certificate must be trusted and carry its host name or address. */
final class Tls {
  private Tls() {}

  /** @param caFile PEM; null: the authorities that Java trusts */
  static Socket over(Socket socket, Address server, String caFile) throws IOException {
    try {
      var context = SSLContext.getInstance("TLS");
      context.init(null, caFile == null ? null : trusted(Path.of(caFile)), null);
      var tls = (SSLSocket) context.getSocketFactory().createSocket(socket, server.host(), server.port(), true);
      var parameters = tls.getSSLParameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      tls.setSSLParameters(parameters);
      tls.startHandshake();
      return tls;
    } catch (SSLException error) {
      for (Throwable cause = error; cause != null; cause = cause.getCause())
        if (cause instanceof CertificateException)
          throw new RefusedException("redis " + server + " has no certificate to trust: " + cause.getMessage(), error);
      throw error; // the server may have ended in the middle
    } catch (GeneralSecurityException error) {
      throw new RefusedException("ca-file " + caFile + " must hold certificates in PEM: " + error.getMessage(), error);
    }
  }

  private static TrustManager[] trusted(Path caFile) throws GeneralSecurityException, IOException {
    var store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (InputStream in = Files.newInputStream(caFile)) {
      int count = 0;
      for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(in))
        store.setCertificateEntry("ca-" + count++, certificate);
    }
    var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(store);
    return factory.getTrustManagers();
  }
}
