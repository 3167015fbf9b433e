"""Parts of benchmarks/precompute in the batch environment: a night up to its index, and the plain loop beside ours.

python -m benchmarks.peers.nightly prepare USERS ITEMS | plain
"""

import json
import sys
import time
from datetime import date
from typing import Any

import faiss
import msgspec
import numpy as np
import pandas as pd

from headrace.infra import durable, paths
from headrace.infra.settings import load
from headrace.infra.versions import factor_version, model_files
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch import index, night, register
from headrace.jobs.batch.lake.tables import Lake, with_files
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder
from headrace.schemas import redis_keys
from headrace.udfs.factors import als
from headrace.udfs.factors.confidence import histories

NIGHT = Night(date(2026, 1, 31))
EVENTS_A_USER, FACTORS, N, AT_A_TIME, SEED = 20, 64, 20, 512, 1
T0_MS = 1_769_817_600_000


def prepare(users: int, items: int) -> None:
    events = clicks(users, items)
    events.to_parquet(paths.home() / "events.parquet")
    _land(events)
    rng = np.random.default_rng(SEED)
    Y = (rng.standard_normal((items, FACTORS)) * rng.lognormal(0, 0.3, (items, 1)) / 8).astype(np.float32)
    parameters = {"objective": als.ials()._asdict(), "half_life_ms": 1e12, "rating_max": 5.0, "history": 50}
    lineage = {"events": len(events), "digest": "", "offsets": {}, "commit": ""}
    dims = {"items": items, "factors": FACTORS, "users": users}
    described = Trained(kind="als", dims=dims, parameters=parameters, lineage=lineage, seconds=0.0)
    names = [f"item-{n:06}" for n in range(items)]
    with NIGHT.writing("als") as folder:
        contents = FactorContents(Y, als.gram(Y), names, [(names[0], 1)])
        factor_version.write_files(folder, contents)
        model_folder.write(folder, names, contents.popular, described)
    for step, name, value in (
        ("evaluate", "report.json", {"models": {}}), ("gate", "verdict.json", {"passed": True, "model": "als"}),
    ):  # fmt: skip
        with NIGHT.writing(step) as folder:
            durable.write(folder / name, msgspec.json.encode(value))
    arguments = night.arguments(None).parse_args(["--date", NIGHT.date.isoformat()])
    register.main(arguments)
    index.main(arguments)


def clicks(users: int, items: int) -> pd.DataFrame:
    rng, n = np.random.default_rng(SEED), users * EVENTS_A_USER
    item = np.minimum(rng.geometric(30 / items, n), items) - 1
    rows: dict[str, Any] = {"user_id": [f"user-{user:07}" for user in np.repeat(np.arange(users), EVENTS_A_USER)]}
    rows |= {"event_id": [f"e{n}" for n in range(n)], "item_id": [f"item-{each:06}" for each in item]}
    rows |= {"action": rng.choice(["view", "click", "purchase"], n), "t_ms": T0_MS + np.arange(n)}
    return pd.DataFrame(rows).assign(rating=np.nan)


def _land(events: pd.DataFrame) -> None:
    """Into the lake, as a landing would write it."""
    spark = session("prepare")
    path = f"file://{paths.home() / 'events.parquet'}"
    rows = spark.read.parquet(path).selectExpr(
        "'clicks' AS table", "*", "t_ms AS ts_ms", "t_ms AS append_ms", "0 AS `partition`", "0L AS `offset`",
        "'shoes' AS category", "'NL' AS location", "'phone' AS device", "DATE '2026-01-31' AS day",
    )  # fmt: skip
    lake = Lake(spark)
    files = lake.write(rows.repartition(4), "land")
    lake.commit(lambda now: with_files(now, files))


def plain() -> None:
    folder, client = NIGHT.result("als"), load().redis.client()
    items, Y = model_files.items(folder), np.load(folder / model_files.FACTORS)
    described = model_files.description(folder)
    rows = pd.read_parquet(paths.home() / "events.parquet").sort_values(["user_id", "t_ms"], kind="stable")
    events = model_folder.events(rows, {item: place for place, item in enumerate(items)})
    users = rows["user_id"].drop_duplicates().tolist()
    began_s = time.perf_counter()
    exact, basis = faiss.IndexFlatIP(FACTORS), als.basis(Y)
    exact.add(Y)
    history = histories(events, len(users), len(items), 1e12)
    seen: list[set[int]] = [set() for _ in users]
    for user, item in zip(history.seen.users.tolist(), history.seen.items.tolist(), strict=True):
        seen[user].add(item)
    for first in range(0, len(users), AT_A_TIME):
        size = min(AT_A_TIME, len(users) - first)
        own = events.where(slice(*np.searchsorted(events.users, [first, first + size])))  # type: ignore[arg-type]
        own = own._replace(users=own.users - first)
        X = als.solve(
            basis, histories(own, size, len(items), 1e12).rows, als.Objective(**described.parameters["objective"])
        )
        scores, found = exact.search(X.astype(np.float32), N + EVENTS_A_USER)
        pipeline = client.pipeline(transaction=False)
        for at in range(size):
            user = first + at
            ranked = zip(found[at].tolist(), scores[at].tolist(), strict=True)
            best = [(item, score) for item, score in ranked if item not in seen[user]][:N]
            value: dict[str, Any] = {"version": "plain", "as_of_ms": 0}
            value["items"] = [{"item": items[item], "score": score, "reason": None} for item, score in best]
            pipeline.set(redis_keys.recs("plain", users[user]), json.dumps(value))
        pipeline.execute()
    seconds = time.perf_counter() - began_s
    (paths.home() / "plain.json").write_text(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(int(sys.argv[2]), int(sys.argv[3]))
    else:
        plain()
