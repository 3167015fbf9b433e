"""A night whose right answer is known: each user wants every item of one colour, in an order of their own."""

from pathlib import Path
from typing import Any

import numpy as np

from headrace.infra.versions import factor_version, store
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.model_files import Trained
from headrace.infra.versions.store import Manifest
from headrace.jobs.batch.night import DAY_MS
from headrace.jobs.batch.training import model_folder

USERS, COLOURS, EACH = 40, 2, 10  # items a colour
ITEMS = [f"i{item:02}" for item in range(COLOURS * EACH)]  # i00 is black, i01 white, i02 black, ...
EVENTS = """user_id string, event_id string, item_id string, action string, t_ms bigint, rating double,
    category string, offset bigint"""
PARAMETERS: dict[str, Any] = {
    "objective": {"alpha": 1.0, "reg": 0.01, "unobserved": 0.1, "target": 0.0, "nu": 1.0},
    "half_life_ms": 90.0 * DAY_MS,
    "rating_max": 5.0,
    "history": 50,
}


def rows() -> list[tuple[Any, ...]]:
    """Returns columns of EVENTS: every user buys all items of the colour, one a day; user 0 searches, too."""
    rng = np.random.default_rng(1)
    found: list[tuple[Any, ...]] = [("u00", "search", "", "search", DAY_MS, None, None, 0)]
    for user in range(USERS):
        for day, item in enumerate(rng.permutation(EACH).tolist()):
            name, colour = ITEMS[COLOURS * item + user % COLOURS], ("black", "white")[user % COLOURS]
            found.append(
                (f"u{user:02}", f"{user}-{day}", name, "purchase", day * DAY_MS + user, None, colour, len(found))
            )
    return found


def factors(items: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns what a perfect training gives, a number per colour: (items, 2)."""
    return np.array([[1 - int(item[1:]) % COLOURS, int(item[1:]) % COLOURS] for item in items], np.float32)


def write_model(folder: Path, digest: str, items: list[str] = ITEMS, **changes: Any) -> None:
    """Writes a night's model. changes: fields of FactorContents that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = FactorContents(factors(items), np.eye(2) * USERS, items, [(item, 1) for item in items])
    factor_version.write_files(folder, contents._replace(**changes))
    dims = {"items": len(items), "factors": 2, "users": USERS}
    lineage = {"digest": digest, "events": 280}
    trained = Trained(kind="als", dims=dims, parameters=PARAMETERS, lineage=lineage, seconds=1.0)
    model_folder.write(folder, items, contents.popular, trained)


def publish(version: str, **lineage: Any) -> Manifest:
    """Publishes a champion that likes every item alike."""
    contents = FactorContents(np.ones((len(ITEMS), 2), np.float32), np.eye(2), ITEMS, [])
    manifest = factor_version.write(
        contents, 1, {}, version, kind="als", users=USERS, parameters=PARAMETERS, lineage=lineage
    )
    store.publish(version, 1)
    return manifest
