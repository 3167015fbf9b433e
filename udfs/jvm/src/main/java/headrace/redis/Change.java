package headrace.redis;

/** What is to be written under a key. One that waits is replaced by the next. */
interface Change {
  /** In `as_of_ms`: the row has none. */
  long NEVER = Long.MAX_VALUE;

  /** When the oldest row that it carries was appended, in ms since 1970, or NEVER. */
  long asOfMs();

  int bytes();

  /** One command with one reply. */
  void writeTo(RespBuffer out);

  /** This after an older change of the same key, which has not been written. */
  Change after(Change older);

  /** A command that says all there is to say about its key. */
  record Absolute(byte[] command, long asOfMs) implements Change {
    @Override
    public int bytes() {
      return command.length;
    }

    @Override
    public void writeTo(RespBuffer out) {
      out.append(command);
    }

    @Override
    public Change after(Change older) {
      return older.asOfMs() < asOfMs ? new Absolute(command, older.asOfMs()) : this;
    }
  }
}
