package headrace.redis;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Which Redis, and how to reach it. It travels in the job graph; a password does so only if it was written there.
 *
 * @param nodes the server, or sentinels, or some nodes of the cluster
 * @param master the name by which sentinels know it
 * @param passwordVariable of the environment where the job runs
 * @param passwordFile where the job runs, as is caFile
 * @param timeoutMs for a connection to open, and for a reply
 * @param retryMs how long Redis may be away before the job fails, or a passing error may last before its key is set
 *     aside
 */
record ServerOptions(
    Mode mode,
    List<Address> nodes,
    String master,
    String username,
    String password,
    String passwordVariable,
    String passwordFile,
    boolean tls,
    String caFile,
    int db,
    int timeoutMs,
    long retryMs)
    implements Serializable {
  enum Mode {
    STANDALONE,
    SENTINEL,
    CLUSTER
  }

  /** The password, read where the job runs. Null without one. */
  String secret() throws IOException {
    if (passwordFile != null) return Files.readString(Path.of(passwordFile)).replaceFirst("[\\r\\n]+$", "");
    return password != null || passwordVariable == null ? password : System.getenv(passwordVariable);
  }

  /** Without the password: this goes into logs and plans. */
  @Override
  public String toString() {
    return mode.name().toLowerCase() + " " + nodes;
  }
}
