"""docs/collaborative.md recomputed in plain loops, with a direct solve per user: what each live list must be.

It shares no code with udfs, jobs or infra, and reads the topic and the published files, not our output.
tests/oracles/sessions.py decides by docs/semantics.md which events are accepted. Two scores that are nearer to each
other than TOLERANCE may have either order.
"""

import json
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.oracles.sessions import Oracle, SessionSettings

TOLERANCE = 1e-6
WEIGHTS = {"view": 1.0, "click": 1.5, "like": 3.0, "share": 3.0, "cart": 4.0, "purchase": 5.0}
TAKEN = ("applied", "late", "repeat")


class Acted(NamedTuple):
    item: str  # empty for a search
    action: str
    t: int
    rating: float | None


class Moment(NamedTuple):
    """A user's history after one of their records."""

    append_ms: int
    events: tuple[Acted, ...]


class Histories:
    """The history of each user, after each record of theirs that is accepted or a repeat."""

    def __init__(self, session: SessionSettings) -> None:
        self.oracle, self.kept = Oracle(session), session.history
        self.events = defaultdict[str, deque[Acted]](lambda: deque(maxlen=self.kept))
        self.moments = defaultdict[str, list[Moment]](list)

    def feed(self, record: Any) -> None:
        path = self.oracle.feed(record.partition, record.offset, record.timestamp, record.key, record.value)
        if path not in TAKEN:
            return
        click = json.loads(record.value)
        user, action = click["user_id"], click["action"]
        if path != "repeat":
            item = "" if action == "search" else click["item_id"]
            acted = Acted(item, action, min(click["ts_ms"], record.timestamp), click.get("rating"))
            self.events[user].append(acted)
        self.moments[user].append(Moment(record.timestamp, tuple(self.events[user])))


class Version(NamedTuple):
    name: str
    places: dict[str, int]
    Y: NDArray[np.float64]  # (m, f)
    alpha: float
    reg: float
    w0: float
    target: float
    nu: float
    half_life_ms: float
    rating_max: float


def read(folder: Path) -> Version:
    manifest = json.loads((folder / "manifest.json").read_text())
    how, items = manifest["parameters"], json.loads((folder / "items.json").read_text())
    fit = how["objective"]
    letters = (fit["alpha"], fit["reg"], fit["unobserved"], fit["target"], fit["nu"])
    Y = np.load(folder / "item_factors.npy").astype(np.float64)
    places = {item: n for n, item in enumerate(items)}
    return Version(manifest["version"], places, Y, *letters, how["half_life_ms"], how["rating_max"])


@dataclass
class Expected:
    """What a list may hold: each item's score, and the part of each history item in it."""

    scores: dict[str, float]
    solved: dict[str, NDArray[np.float64]]  # A^-1 y_j (alpha r_j + w0 target)
    version: Version

    def best(self, n: int) -> list[str]:
        return sorted(self.scores, key=lambda item: (-self.scores[item], self.version.places[item]))[:n]

    def parts(self, item: str) -> dict[str, float]:
        y = self.version.Y[self.version.places[item]]
        return {j: float(y @ s) for j, s in self.solved.items()}


def strengths(version: Version, events: tuple[Acted, ...]) -> dict[str, float]:
    newest = max(event.t for event in events)
    left = list(events)
    for back in [event for event in events if event.action in ("refund", "uncart")]:
        for action in ("purchase", "cart") if back.action == "refund" else ("cart",):
            given = [event for event in left if event.action == action and event.item == back.item]
            if given:
                left.remove(max(given, key=lambda event: event.t))
    refused = {event.item for event in events if event.action in ("dislike", "block")}
    total: dict[str, float] = {}
    for event in left:
        if event.item in version.places and event.item not in refused:
            age = (newest - event.t) / version.half_life_ms
            total[event.item] = total.get(event.item, 0.0) + weight(event, version.rating_max) * 2.0**-age
    return {item: r for item, r in total.items() if r > 0}


def weight(event: Acted, rating_max: float) -> float:
    if event.action != "rate":
        return WEIGHTS.get(event.action, 0.0)
    return 3.0 if event.rating is None else 5.0 * min(event.rating, rating_max) / rating_max


def expected(version: Version, events: tuple[Acted, ...]) -> Expected | None:
    """Returns what a list must be; None if nothing known of the history gives any item a score, or no item is left."""
    r = strengths(version, events)
    if not r:
        return None
    v, Y, own = version, version.Y, {item: version.Y[version.places[item]] for item in r}
    A = v.w0 * Y.T @ Y + v.reg * (len(r) + v.w0 * len(Y)) ** v.nu * np.eye(Y.shape[1])
    b = np.zeros(Y.shape[1])
    for item, y in own.items():
        A += v.alpha * r[item] * np.outer(y, y)
        b += (v.alpha * r[item] + v.w0 * v.target) * y
    x = np.linalg.solve(A, b)
    seen = {event.item for event in events if event.action not in ("search", "ignore")}
    scores = {item: float(x @ Y[n]) for item, n in v.places.items() if item not in seen}
    solved = {j: np.linalg.solve(A, y) * (v.alpha * r[j] + v.w0 * v.target) for j, y in own.items()}
    return Expected(scores, solved, v) if any(scores.values()) else None


def wrong(version: Version, moment: Moment, listed: dict[str, Any] | None, n: int) -> list[str]:
    """Returns how a list differs from what it must be at that moment; empty if it does not."""
    must = expected(version, moment.events)
    if must is None or listed is None:
        return [] if must is None and listed is None else [f"expected {must}, got {listed}"]
    if (listed["version"], listed["as_of_ms"]) != (version.name, moment.append_ms):
        return [f"expected {version.name} as of {moment.append_ms}, got {listed}"]
    names, best = [entry["item"] for entry in listed["items"]], must.best(n)
    if len(names) != len(best) or len(set(names)) != len(names) or not set(names) <= must.scores.keys():
        return [f"expected {best}, got {names}"]
    return [
        f"place {place}: expected {best[place]} {must.scores[best[place]]}, got {entry}"
        for place, entry in enumerate(listed["items"])
        if not fits(must, best[place], entry)
    ]


def fits(must: Expected, best: str, entry: dict[str, Any]) -> bool:
    item, reason, parts = entry["item"], entry["reason"], must.parts(entry["item"])
    near = [abs(score - entry["score"]) <= TOLERANCE for score in (must.scores[best], must.scores[item])]
    most = max(parts.values())
    explained = most <= TOLERANCE if reason is None else parts.get(reason, -np.inf) >= most - TOLERANCE and most > 0
    return all(near) and bool(explained)
