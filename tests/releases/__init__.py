"""What an old release leaves behind: savepoints of its jobs, the log they had read, a published version, a lake.

0.1.0: 8 shoppers saw and bought six lamps, then were shown items of the model and clicked the first; one slot, RocksDB.
`log.jsonl` holds a line [topic, partition, offset, key, value] for each record.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Sent(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: str
    value: str


def unpack(release: str, folder: Path) -> Path:
    with tarfile.open(Path(__file__).parent / f"{release}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def log(folder: Path) -> Iterator[Sent]:
    """Returns the records in the order of their offsets."""
    with (folder / "log.jsonl").open() as lines:
        yield from (Sent(*json.loads(line)) for line in lines)
