"""A family of a shop's own, in a file outside the package: shoppers take the items of their colour in turn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.infra.connections import Section
from headrace.infra.versions import model_files
from headrace.udfs.factors.als import Float, Int
from headrace.udfs.factors.top_n import NONE, Top
from headrace.udfs.recommenders.contract import Family, Lists, Past, TrainingData, TrainingOutcome

TURN = "turn.json"


class Turn(Section):
    ahead: int = 20  # steps


class NextInTurn:
    """Items of one parity follow each other in a circle; the score is 1 / how far an item is behind the newest one."""

    def __init__(self, items: Sequence[str], ahead: int) -> None:
        self.items, self.ahead = items, ahead
        self.numbers = np.array([int(item[1:]) for item in items])

    def vectors(self) -> None:
        return None

    def score(self, past: Past, items: Int) -> Float:
        newest = np.full(past.users, NONE)
        newest[past.events.users[past.events.items >= 0]] = past.events.items[past.events.items >= 0]
        own, asked = self.numbers[newest][:, None], self.numbers[items]
        steps = ((asked - own) // 2) % (len(self.items) // 2)
        fits = ((asked - own) % 2 == 0) & (steps > 0) & (steps <= self.ahead) & (newest[:, None] != NONE)
        return np.where(fits, 1 / np.maximum(steps, 1), 0.0)

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        scores = self.score(past, np.tile(np.arange(len(self.items)), (past.users, 1)))
        barred = np.setdiff1d(np.arange(len(self.items)), allowed)
        scores[:, barred] = scores[past.seen.users, past.seen.items] = 0.0
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        known = np.diff(past.rows.indptr) > 0
        some = (best > 0) & known[:, None]
        padding = ((0, 0), (0, max(k - order.shape[1], 0)))
        items = np.pad(np.where(some, order, NONE), padding, constant_values=NONE)
        return Lists(items, np.pad(np.where(some, best, -np.inf), padding, constant_values=-np.inf), known)

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        return Top(np.full((len(items), k), NONE), np.full((len(items), k), -np.inf))

    def explain(self, past: Past, items: Int) -> Int:
        newest = np.full(past.users, NONE)
        newest[past.events.users[past.events.items >= 0]] = past.events.items[past.events.items >= 0]
        return np.where(items == NONE, NONE, newest[:, None])

    def sound(self) -> list[str]:
        return [] if self.ahead > 0 else ["it must look ahead"]


def train(data: TrainingData, settings: Turn, folder: Path, previous: Path | None) -> TrainingOutcome:
    (folder / TURN).write_bytes(msgspec.json.encode(settings.ahead))
    return TrainingOutcome(data.items, {})


def load(folder: Path) -> Any:
    return NextInTurn(model_files.items(folder), msgspec.json.decode((folder / TURN).read_bytes()))


FAMILY = Family(Turn, train, load, load)
