"""A file -> its clicks, one after another: what `import`, `replay` and `train` read."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files.lines import SHOWN
from headrace.infra.files.mapping import Conversion, Findings, Mapping
from headrace.infra.files.open_table import Damage, OpenTable, Row, table

Adapt = Callable[[Row], Row]


class OpenFile(NamedTuple):
    """An open file. records: each click as JSON, or why a row is none; read it to its end before `told`."""

    table: OpenTable
    told: Findings
    records: Iterator[bytes | Damage]


@contextmanager
def events(path: Path, mapping: Mapping, prefix: str, adapt: Adapt | None = None) -> Iterator[OpenFile]:
    """Opens a file. prefix: of the event_id that a row without one gets. adapt: changes a row before the mapping.

    Raises HeadraceError for a file that cannot be read, also in its middle, and a mapping that does not fit it.
    """
    with table(path, mapping.form()) as found:
        try:
            clicks = Conversion(mapping, None if adapt else found.names, prefix)  # what changes a row may add a column
        except HeadraceError as error:
            raise HeadraceError(f"{path}: {error}") from None
        yield OpenFile(found, clicks.told, _records(found, clicks, adapt))


def _records(found: OpenTable, clicks: Conversion, adapt: Adapt | None) -> Iterator[bytes | Damage]:
    number = -1
    try:
        for number, row in enumerate(found.rows):
            if isinstance(row, Damage):
                yield row
                continue
            if adapt:
                row = adapt(row)
            text = ""  # of the row, for the first of its events that is refused
            for record in clicks.records(row, number) if clicks.each else (clicks.record(row, number),):
                if isinstance(record, bytes):
                    yield record
                    continue
                text = text[:SHOWN] or _text(row)
                yield record._replace(text=text)
    except HeadraceError as error:
        raise HeadraceError(f"{error} (after row {number + 1})") from None


def _text(row: Row) -> str:
    try:
        return msgspec.json.encode(row, enc_hook=str).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):  # what JSON can spell and Python's texts and numbers cannot
        return json.dumps(row, default=str)
