"""Checks a version's lists in Redis before readers get them, for a sample of users and items; exit 3 if any is wrong.

source     Redis, by the keys of docs/redis.md; lake.clicks for what the users have seen; infra/config/rules.toml
transform  every list is there, is of the version, and holds no item that was seen or is left out
sink       verify/verify.json, without which `publish` does not begin

Of the version that serves it also checks that Redis names it, and its popular list.

Run: headrace run verify --date 2026-01-31
"""

import argparse
import shutil
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.errors import Refusal
from headrace.infra.settings import Settings, load
from headrace.infra.versions import list_files, redis_view, rules, store
from headrace.infra.versions.rules import ItemRules
from headrace.jobs.batch import night, register
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.schemas import lists, redis_keys
from headrace.udfs.factors.confidence import UNSEEN

STEP, RESULT = "verify", "verify.json"
SAMPLE, SEED, SHOWN = 200, 1, 5
Keys = list[str]
Lists = dict[str, set[str]]  # by key: items that the list must not hold, since its user has seen them


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    version = register.version(tonight)
    obeyed, pointer = rules.read(Path(settings.night.rules)), store.current()
    users, others = sample(version, obeyed)
    expected = of_users(version, users, tonight.date) | {key: set() for key in others}
    if pointer and pointer.version == version:
        wrong = [*pointed(settings, version), *faults(settings, version, expected | popular(version), obeyed)]
    else:  # a publication takes what the rules leave out by now from all lists
        wrong = [*faults(settings, version, expected, ItemRules())]
    try:
        demand(version, wrong)
    except Refusal:
        shutil.rmtree(tonight.folder / STEP, ignore_errors=True)  # an earlier try may have found all well
        raise
    with tonight.writing(STEP) as folder:
        durable.write(folder / RESULT, msgspec.json.encode({"version": version, "users": len(users)}))
    print(f"{version}: the lists of {len(users)} users and {len(others)} other lists are as they should be")


def verified(tonight: Night) -> str | None:
    """Returns the version whose lists the night found right; None if it has not looked, or found faults."""
    path = tonight.folder / STEP / RESULT
    return str(msgspec.json.decode(path.read_bytes())["version"]) if path.is_file() else None


def demand(version: str, faults: Iterable[str]) -> None:
    """Raises Refusal if there are any faults."""
    if wrong := list(faults):
        raise Refusal(f"{version}: {len(wrong)} faults, such as: {'; '.join(wrong[:SHOWN])}")


def sample(version: str, obeyed: ItemRules) -> tuple[Keys, Keys]:
    """Returns some users, and the keys of some lists that belong to no user. obeyed: may leave a list without items."""
    begin, rng = redis_keys.recs(version, ""), np.random.default_rng(SEED)
    entries = (entry for path in list_files.files(version) for entry in list_files.entries(path))
    keys = sorted(key for key, value in entries if list_files.allowed(value, obeyed))
    users = [key.removeprefix(begin) for key in keys if key.startswith(begin)]
    others = [key for key in keys if not key.startswith(begin)]
    some = [rng.permutation(each)[:SAMPLE].tolist() for each in (users, others)]
    return some[0], some[1]


def popular(version: str) -> Lists:
    """Returns the version's popular list, which a publication writes."""
    return {redis_keys.popular(version): set()}


def of_users(version: str, users: Keys, until: date) -> Lists:
    seen = _seen(users, until)
    return {redis_keys.recs(version, user): seen.get(user, set()) for user in users}


def pointed(settings: Settings, version: str) -> Iterator[str]:
    """Yields a fault if Redis names another version as the one that serves."""
    serving = redis_view.serving(settings.redis.client())
    if serving != version:
        yield f"{redis_keys.model_current()} must name {version}, got {serving or 'none'}"


def faults(settings: Settings, version: str, forbidden: Lists, obeyed: ItemRules) -> Iterator[str]:
    """Yields each fault of these lists of the version in Redis. obeyed: what no list may hold."""
    pipeline = settings.redis.client().pipeline(transaction=False)
    for key in forbidden:
        pipeline.get(key)
    file = Path(settings.night.rules).name
    for key, value in zip(forbidden, pipeline.execute(), strict=True):
        listed = _decoded(value)
        if isinstance(listed, str):
            yield f"{key} {listed}"
            continue
        items = [entry.item for entry in listed.items]
        yield from _wrong(key, listed.version, version, items, forbidden[key])
        yield from (f"{key} holds {item!r}, left out by {file}" for item in obeyed.left_out(items))


def _decoded(value: bytes | None) -> lists.Listed | str:
    """Returns the list that a value holds, or what is wrong with it."""
    if value is None:
        return "is missing"
    try:
        return lists.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"must hold a list: {error}"


def _wrong(key: str, version: str, wanted: str, items: list[str], seen: set[str]) -> Iterator[str]:
    if version != wanted:
        yield f"{key} must be of {wanted}, got {version!r}"
    if len(set(items)) != len(items) or not items:
        yield f"{key} must hold different items, got {items}"
    yield from (f"{key} holds {item!r}, which the user has seen" for item in items if item in seen)


def _seen(users: Keys, until: date) -> dict[str, set[str]]:
    """Returns the items that each of the users has seen."""
    clicks = tables.clicks(session(STEP), until)
    rows = clicks.where(F.col("user_id").isin(users) & ~F.col("action").isin(*UNSEEN))
    seen: dict[str, set[str]] = {}
    for row in rows.select("user_id", "item_id").distinct().collect():
        seen.setdefault(row["user_id"], set()).add(row["item_id"])
    return seen


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
