"""JSON -> rows: an object a line, or an array of objects, or objects over many lines; in constant memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files.lines import MAX_BYTES, SHOWN, Damage, Row

CHUNK = 1 << 20
AROUND = "\x1e, \t"  # of an object on its line, in some programs' files
NEXT = re.compile(r"\}\s*,\s*\{")
BETWEEN = re.compile(r"[\s,]*")
OVERLAP = 1_000  # characters, in which an object may begin
ROW_MAX = 16 * MAX_BYTES  # characters of one object


def is_lines(sample: str) -> bool:
    """Returns whether a file has an object a line, by its first line; else it is an array, or spread over lines."""
    first = next((line for line in sample.split("\n") if line.strip()), "")
    return not first.lstrip().startswith("[") and (_decoded(first) is not None or not _opens(sample))


def _opens(sample: str) -> bool:
    """Returns whether an object begins here and goes on over the next lines."""
    first, _, second = sample.lstrip().partition("\n")
    return first.rstrip() == "{" or (first.startswith("{") and second.lstrip().startswith('"'))


def _decoded(line: str) -> Row | None:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        row = _lenient(line)
    return row if isinstance(row, dict) else None


def _lenient(line: str) -> Any:
    """Python writes NaN and Infinity, which are no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def rows(lines: Iterator[str | Damage]) -> Iterator[Row | Damage]:
    """Yields an object a line; a line that is none costs that line."""
    for line in lines:
        if isinstance(line, Damage):
            yield line
        elif (row := _decoded(line)) is not None or (row := _decoded(line.strip(AROUND))) is not None:
            yield row
        elif line and not line.isspace():
            yield Damage("json", f"must be a JSON object, got {line[:SHOWN]!r}", line)


def elements(stream: IO[bytes], encoding: str) -> Iterator[Row | Damage]:
    """Yields the objects of an array, or one after another. One that is broken costs itself, where a next one is found.

    The next one begins as the first did: on a line of its own, after as many blanks.
    """
    text = _Text(stream, encoding)
    text.skip(re.compile(r"\s*\[?"))
    begin = text.prefix()
    while not text.ended():
        found = text.next()
        if not isinstance(found, Damage):
            yield found if isinstance(found, dict) else Damage("json", f"must be an object, got {str(found)[:SHOWN]!r}")
            continue
        yield found
        if not text.resume(begin):
            if text.has_more:
                raise HeadraceError(f"its JSON breaks, and nothing tells where the next object begins: {found.text!r}")
            return


class _Text:
    """A window of the text that moves on."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        # A byte of another encoding becomes half a surrogate pair, which costs its row.
        errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
        self.stream, self.decoder, self.has_more = stream, codecs.getincrementaldecoder(encoding)(errors), False
        self.buffer, self.at, self.whole = "", 0, False
        self.scan = json.JSONDecoder().raw_decode
        self.more()
        self.buffer = self.buffer.removeprefix("\ufeff")

    def more(self) -> None:
        """Reads on, and forgets what is passed."""
        part = self.stream.read(CHUNK)
        self.whole = not part
        self.buffer, self.at = self.buffer[self.at :] + self.decoder.decode(part, final=self.whole), 0

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.buffer, self.at)
        self.at = match.end() if match else self.at

    def prefix(self) -> re.Pattern[str]:
        """Returns how an object begins: on its line as the first does; if that is beside the bracket, on any line."""
        blanks = re.compile(r"\s*").match(self.buffer, self.at)
        before = blanks[0] if blanks else ""
        return re.compile(rf"\n{before.rpartition(chr(10))[2]}(\{{)" if "\n" in before else r",\s*\n[ \t]*(\{)")

    def ended(self) -> bool:
        self.skip(BETWEEN)
        while self.at == len(self.buffer) and not self.whole:
            self.more()
            self.skip(BETWEEN)
        while self.at < len(self.buffer) and self.buffer[self.at] == "]" and not self.buffer[self.at + 1 :].strip():
            if self.whole:
                return True
            self.more()
        return self.at == len(self.buffer)

    def next(self) -> Any:
        while True:
            try:
                value, end = self.scan(self.buffer, self.at)
            except (ValueError, RecursionError) as error:
                if self.whole or len(self.buffer) - self.at > ROW_MAX:
                    said = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", error)
                    return Damage("json", f"must be a JSON object: {said}", self.buffer[self.at : self.at + SHOWN])
                self.more()
                continue
            if end == len(self.buffer) and not self.whole:
                self.more()  # a number may go on
                continue
            self.at = end
            return value

    def resume(self, begin: re.Pattern[str]) -> bool:
        """Moves to the next object, and returns whether there is one."""
        self.has_more = False
        while (found := begin.search(self.buffer, self.at + 1)) is None:
            self.has_more |= NEXT.search(self.buffer, self.at) is not None
            if self.whole:
                return False
            self.at = max(self.at, len(self.buffer) - OVERLAP)
            self.more()
        self.at = found.start(1)
        return True
