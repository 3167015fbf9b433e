"""Redis commands as bytes (RESP2), built a column at a time.

A pipeline of prebuilt bytes is four times as fast as one of redis-py's packed commands.
"""

from collections.abc import Iterable, Iterator


def bulk(data: str | bytes) -> bytes:
    """One bulk string."""
    data = data if isinstance(data, bytes) else data.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def lasting(keys: Iterable[str], values: Iterable[bytes | None]) -> Iterator[bytes]:
    """Yields SET without an expiry, or UNLINK where the value is None: one command and one reply per key."""
    put, unlink = b"*3\r\n" + bulk("SET"), b"*2\r\n" + bulk("UNLINK")
    for key, value in zip(map(bulk, keys), values, strict=True):
        yield unlink + key if value is None else b"".join((put, key, bulk(value)))
