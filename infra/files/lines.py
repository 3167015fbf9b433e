"""Bytes -> lines of text. A line that cannot be read costs that line: the wrong encoding, or too long."""

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

MAX_BYTES = 1 << 20  # of a line; a click may have no more
SAMPLE_BYTES = 1 << 20
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
FEW = 2  # lines that are not UTF-8: fewer are damage, more are another encoding
SHOWN = 200  # characters of a damaged line

Row = dict[str, Any]


class Damage(NamedTuple):
    """A row that is none. reason: row, quote, encoding, size or json."""

    reason: str
    detail: str
    text: str = ""


def guess(sample: bytes) -> str:
    """Returns the encoding of a text: by its mark, by the zeros of UTF-16, else UTF-8, or cp1252 if it is not that."""
    for mark, encoding in MARKS.items():
        if sample.startswith(mark):
            return encoding
    even, odd = sample[0:4096:2].count(0), sample[1:4096:2].count(0)
    if max(even, odd) > len(sample[:4096]) // 8:
        return "utf-16-le" if odd > even else "utf-16-be"
    if b"\n" not in sample.strip():  # a whole JSON array, say
        return "utf-8" if _is_utf8(sample, is_cut=True) else "cp1252"
    whole = sample.split(b"\n")[: -1 if len(sample) >= SAMPLE_BYTES else None]
    foreign = [line for line in whole if not line.isascii()]
    wrong = sum(not _is_utf8(line) for line in foreign)
    return "cp1252" if wrong >= FEW and wrong > len(foreign) - wrong else "utf-8"


def _is_utf8(text: bytes, is_cut: bool = False) -> bool:
    """Returns whether bytes are UTF-8. is_cut: the last character may be there in part."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True


def sample_of(stream: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """Returns the first bytes of a stream, and the stream with them still in it."""
    first = stream.read(SAMPLE_BYTES)
    return first, io.BufferedReader(cast(Any, _Rejoined(first, stream)), SAMPLE_BYTES)


class _Rejoined(io.RawIOBase):
    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self.first, self.rest = io.BytesIO(first), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.first.read(len(buffer)) or self.rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def lines(stream: IO[bytes], encoding: str) -> Iterator[str | Damage]:
    """Yields the lines, without what ends them (a line feed, after a carriage return or not) and without a mark."""
    if encoding.startswith(("utf-16", "utf-32")):
        stream = io.BufferedReader(cast(Any, _Recoded(stream, encoding)), SAMPLE_BYTES)
        encoding = "utf-8"
    first = True
    while line := stream.readline(MAX_BYTES + 1):
        if len(line) > MAX_BYTES + line.endswith(b"\n"):
            yield _too_long(stream, line, encoding)
            continue
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
        try:
            yield line.rstrip(b"\r\n").decode(encoding)
        except UnicodeDecodeError as error:
            yield _undecodable(line, error)


class _Recoded(io.RawIOBase):
    """UTF-16 as UTF-8; what is no UTF-16 becomes a byte that is no UTF-8, so that it costs its line."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self.stream, self.decoder = stream, codecs.getincrementaldecoder(encoding)("replace")
        self.left, self.ended = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.left and not self.ended:
            part = self.stream.read(len(buffer) // 2 or 1)
            self.ended = not part
            text = self.decoder.decode(part, final=self.ended)
            self.left = text.removeprefix("\ufeff").encode().replace("\ufffd".encode(), b"\xff")
        count = min(len(buffer), len(self.left))
        buffer[:count], self.left = self.left[:count], self.left[count:]
        return count


def _too_long(stream: IO[bytes], line: bytes, encoding: str) -> Damage:
    count, part = len(line), line
    while part and not part.endswith(b"\n"):
        part = stream.readline(MAX_BYTES)
        count += len(part)
    return Damage("size", f"must be <= {MAX_BYTES} bytes, got {count}", line[:SHOWN].decode(encoding, "replace"))


def _undecodable(line: bytes, error: UnicodeDecodeError) -> Damage:
    wrong = line[error.start : error.end].hex()
    detail = f"must be {error.encoding}, got byte 0x{wrong} at byte {error.start + 1} of the line"
    text = line.rstrip(b"\r\n").decode("utf-8", "replace")[:MAX_BYTES]
    return Damage("encoding", f"{detail}; if the file is of another encoding: --encoding cp1252", text)
