"""What tests ask of the reader: the events of a file, and what was refused by reason."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.infra.files.events import events
from headrace.infra.files.mapping import Findings, Mapping
from headrace.infra.files.open_table import Damage

CASES = Path(__file__).parent / "cases"


class Reading(NamedTuple):
    events: list[dict[str, Any]]
    refused: list[Damage]
    notes: list[str]
    told: Findings

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(each.reason for each in self.refused))

    @property
    def repeats(self) -> int:
        return len(self.events) - len({(each["user_id"], each["event_id"]) for each in self.events})

    def column(self, name: str) -> list[Any]:
        return [each.get(name) for each in self.events]


def read(path: Path, mapping: Mapping | None = None) -> Reading:
    with events(path, mapping or Mapping(), "f") as found:
        records = list(found.records)
        good = [msgspec.json.decode(each) for each in records if isinstance(each, bytes)]
        bad = [each for each in records if isinstance(each, Damage)]
        return Reading(good, bad, found.table.notes, found.told)
