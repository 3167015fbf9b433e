package headrace.redis;

/** The slot of a key in a cluster: CRC16 (XMODEM) of the key, or of what its first braces hold, modulo 16,384. */
final class Slots {
  static final int COUNT = 16_384;
  private static final int POLYNOMIAL = 0x1021;
  private static final int[] TABLE = new int[256];

  static {
    for (int i = 0; i < TABLE.length; i++) {
      int crc = i << 8;
      for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000) == 0 ? crc << 1 : crc << 1 ^ POLYNOMIAL;
      TABLE[i] = crc & 0xffff;
    }
  }

  private Slots() {}

  static int of(byte[] key) {
    int open = indexOf(key, '{', 0);
    int close = open < 0 ? -1 : indexOf(key, '}', open + 1);
    return close > open + 1 ? crc16(key, open + 1, close) % COUNT : crc16(key, 0, key.length) % COUNT;
  }

  private static int indexOf(byte[] key, char wanted, int from) {
    for (int i = from; i < key.length; i++) if (key[i] == wanted) return i;
    return -1;
  }

  private static int crc16(byte[] key, int from, int to) {
    int crc = 0;
    for (int i = from; i < to; i++) crc = (crc << 8 ^ TABLE[(crc >> 8 ^ key[i]) & 0xff]) & 0xffff;
    return crc;
  }
}
