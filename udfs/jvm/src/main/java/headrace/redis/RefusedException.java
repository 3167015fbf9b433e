package headrace.redis;

import java.io.IOException;

/** Redis will not take us, however often we try: a wrong password, a missing permission, a newer writer. */
final class RefusedException extends IOException {
  RefusedException(String message) {
    super(message);
  }

  RefusedException(String message, Throwable cause) {
    super(message, cause);
  }
}
