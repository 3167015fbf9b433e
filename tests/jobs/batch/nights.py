"""A night whose right lists are known: a lake of a checkerboard, a trained model of it, and the gate's verdict."""

from datetime import date
from typing import Any

import msgspec
import numpy as np

from headrace.infra import durable
from headrace.infra.versions import model_files
from headrace.jobs.batch.night import Night
from headrace.udfs.factors import als
from tests.jobs.batch import lakes

DATE = date(2026, 1, 31)
DAY_MS = 86_400_000
T0_MS = 1_769_817_600_000  # 2026-01-31T00:00Z
SIDE = 24
PLACES = ({"location": "NL", "device": "phone"}, {"location": "BE", "device": "desktop"})
CATEGORIES = ("red", "green", "blue")


def clicks(side: int = SIDE) -> list[dict[str, Any]]:
    """Returns views: user u saw all items of their parity but their last six; even users are in NL, odd in BE."""
    found: list[dict[str, Any]] = []
    for user in range(side):
        for item in range(user % 2, side, 2):
            if (item - user) % side < side - 12:
                place = PLACES[user % 2] | {"category": CATEGORIES[item % 3]}
                n = len(found)
                found.append(lakes.click(n, f"u{user:02}", f"i{item:02}", T0_MS - n % 7 * DAY_MS + n, **place))
    return found


def unseen(user: int, side: int = SIDE) -> set[str]:
    """Returns the items of the user's parity that their list must hold; it may hold no others of that parity."""
    return {f"i{item:02}" for item in range(user % 2, side, 2) if (item - user) % side >= side - 12}


def trained(night: Night, kind: str = "als", side: int = SIDE, seed: int = 1) -> None:
    """Writes a trained model: the first two factors give the parity, the others are small."""
    rng = np.random.default_rng(seed)
    Y = rng.normal(size=(side, 6)).astype(np.float32) * 0.05
    Y[:, 0], Y[:, 1] = np.arange(side) % 2 == 0, np.arange(side) % 2 == 1
    parameters = {"objective": als.ials(alpha=5.0)._asdict(), "half_life_ms": 1e12, "rating_max": 5.0, "history": 50}
    lineage = {"date": night.date.isoformat(), "protocol": "days:1", "events": 144, "digest": "1f", "offsets": {}}
    described = {"kind": kind, "dims": {"items": side, "factors": 6, "users": side}, "seconds": 1.0}
    with night.writing(kind) as folder:
        np.save(folder / model_files.FACTORS, Y)
        np.save(folder / model_files.GRAM, als.gram(Y))
        durable.write(folder / model_files.ITEMS, msgspec.json.encode([f"i{item:02}" for item in range(side)]))
        durable.write(
            folder / model_files.POPULAR, msgspec.json.encode([(f"i{item:02}", 9 - item) for item in range(9)])
        )
        whole = described | {"parameters": parameters, "lineage": lineage | {"commit": "abc"}}
        durable.write(folder / "model.json", msgspec.json.encode(whole))


def judged(night: Night, model: str = "als", passed: bool = True) -> None:
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    report = {"models": {model: {"ndcg@10": value, "segments": {"new": {"ndcg@10": value}}}}, "chosen": model}
    with night.writing("evaluate") as folder:
        durable.write(folder / "report.json", msgspec.json.encode(report))
    verdict = {"passed": passed, "model": model, "rules": [], "sha256": durable.hashes(night.folder / model)}
    with night.writing("gate") as folder:
        durable.write(folder / "verdict.json", msgspec.json.encode(verdict))
