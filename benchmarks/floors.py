"""The gate's absolute floors on MovieLens and Amazon Beauty: what ALS reaches, and what no list can reach.

Only MovieLens 100K has times. Beauty's lines are each user's purchases in order. MovieLens 1M has the order of the
official file, which is no order of time: it lists films in much the same order for everyone, so that the last fifth of
each user has films that few users have among their first four fifths. It is run as it is, to show that, and with a
random fifth held out. Every event counts 1, whatever its rating. Factors are those of udfs/factors/als.py; users are
folded in from all that is not held out; lists and metrics are those of `headrace run evaluate`, without Spark: by score
alone, and (als_published) with the diversity of the default rules.toml. The hyperparameters are the best of three on a
fifth of MovieLens 1M's rest, and the best of four on Beauty's last but one items, which `last:0.5` holds out.

Published figures on such data hold out one event per user. On Beauty that protocol is run, too, beside them.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from headrace.infra import paths
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Int, Objective, Real
from headrace.udfs.factors.confidence import ACTIONS, Events
from headrace.udfs.recommenders.als_scorer import AlsScorer

METRICS = ("precision", "recall", "ndcg", "coverage", "diversity")
K, SEED, USERS_AT_A_TIME = 10, 1, 512
# Rajput et al. 2023 (arXiv:2305.05065), Table 1; leave-one-out, all items ranked, the same 22,363 users.
PUBLISHED = {
    "SASRec": {"hit_rate": 0.0605, "ndcg": 0.0318},
    "S3-Rec": {"hit_rate": 0.0647, "ndcg": 0.0327},
    "TIGER": {"hit_rate": 0.0648, "ndcg": 0.0384},
}


class How(NamedTuple):
    factors: int
    iterations: int
    objective: Objective


class Case(NamedTuple):
    dataset: str
    share: float  # of each user's events that is held out; 0: the newest
    how: How
    shuffled: bool = False


FILMS, BEAUTY = How(64, 12, als.ials(1.0, 0.01, 0.1)), How(256, 12, als.ials(1.0, 0.003, 0.01))
CASES = {
    "ml-100k last:0.2": Case("ml-100k", 0.2, FILMS),
    "ml-1m random fifth": Case("ml-1m", 0.2, FILMS, shuffled=True),
    "ml-1m official order": Case("ml-1m", 0.2, FILMS),
    "beauty last:0.5": Case("amazon-beauty", 0.5, BEAUTY),
    "beauty leave_one_out": Case("amazon-beauty", 0.0, BEAUTY),
}


def main() -> Any:
    """The metrics need scipy, which the batch environment has."""
    from benchmarks.clicks import DATA
    from benchmarks.harness import Result, table

    command = [str(paths.python("batch")), "-m", "benchmarks.floors", str(DATA)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=paths.PACKAGE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    floors = tomllib.loads((paths.CONFIG / "gates.toml").read_text())["production"]["floors"]["last"]
    rows = [["floor", *(floors[name] for name in METRICS)]]
    for case, each in found.items():
        rows += [[f"{case}, {way}", *(values[name] for name in METRICS)] for way, values in each["ways"].items()]
        rows.append([f"{case}, best possible", *(each["bounds"].get(name, 1.0) for name in METRICS)])
    table(f"At {K}, over all items", ("", *METRICS), rows)
    ours = {case: each["ways"]["als"] for case, each in found.items()}
    peers: dict[str, Any] = {case: each["ways"] | {"bounds": each["bounds"]} for case, each in found.items()}
    peers |= {"floors": floors, "published, beauty leave_one_out": PUBLISHED}
    conditions = {case: each["data"] | {"how": each["how"]} for case, each in found.items()} | {"k": K, "seed": SEED}
    ratio = ours["ml-1m random fifth"]["ndcg"] / floors["ndcg"]
    return Result(
        "floors", ours, peers, ratio, "the floor of NDCG@10, MovieLens 1M, a random fifth", "metric@10", conditions
    )


def measure(case: Case, data: Path) -> dict[str, Any]:
    from headrace.jobs.batch.judging.figures import summary

    events, items = read(data / case.dataset, case.shuffled)
    lists, about, cosines = contest(events, newest(events.users, case.share), items, case.how)
    found = summary(lists, about, {"diversity": cosines}, ["als", "als_published"])
    shown = (*METRICS, "hit_rate", "capped_recall")
    every = found["models"] | found["baselines"]
    figures = {way: {name: round(each[name]["value"], 4) for name in shown} for way, each in every.items()}
    return {"ways": figures, "bounds": found["bounds"], "data": found["data"], "how": case.how._asdict()}


def contest(events: Events, held: Any, items: list[str], how: How) -> tuple[dict[str, Any], Any, Any]:
    """(lists of the users with a relevant item, what they are judged by, the items' cosines)."""
    from headrace.jobs.batch.judging import recommenders
    from headrace.jobs.batch.judging.figures import About
    from headrace.jobs.batch.publishing import listing
    from headrace.udfs.evaluation.ranking import Relevant

    users, before = int(events.users.max()) + 1, events.where(~held)
    known = recommenders.plain(before, users, len(items))
    wanted = recommenders.plain(events.where(held), users, len(items)).rows
    owners = np.repeat(np.arange(users), np.diff(wanted.indptr))
    fresh = ~np.isin(owners * len(items) + wanted.columns, known.seen.users * len(items) + known.seen.items)
    chosen, n = np.unique(owners[fresh], return_counts=True)
    R = recommenders.matrix(known.rows, len(items))
    cosines, item_users = recommenders.Cosines(R), np.asarray(R.sum(axis=0)).ravel().astype(np.int64)
    places, every = {item: place for place, item in enumerate(items)}, np.arange(len(items))
    model, strength = AlsScorer(items, fit(known.rows, len(items), how), how.objective), (np.inf, 5.0)
    asked: dict[str, recommenders.Contestant] = {
        "als": recommenders.NightModel(model, strength, places, listing.by_score(K)),
        "als_published": recommenders.NightModel(model, strength, places, published()),
        "popularity": recommenders.PopularList(item_users, every),
    }
    history = np.bincount(known.seen.users, minlength=users)[chosen]
    about = About(Relevant(np.concatenate([[0], np.cumsum(n)]), wanted.columns[fresh]), history, item_users, users)
    return {name: listed(way, before, chosen) for name, way in asked.items()}, about, cosines


def published() -> Any:
    """Returns how the night's lists are made by the default rules."""
    from headrace.infra.versions import rules
    from headrace.jobs.batch.publishing import listing

    business = rules.load(paths.CONFIG / "rules.toml")
    return listing.by_score(K)._replace(wish=listing.wish(business, K))


def listed(way: Any, before: Events, chosen: Int) -> Any:
    """Some users at a time; events are sorted by user."""
    from headrace.jobs.batch.judging.figures import JudgedLists

    found = []
    for at in range(0, len(chosen), USERS_AT_A_TIME):
        part = chosen[at : at + USERS_AT_A_TIME]
        own = before.where(np.isin(before.users, part))
        each = way.lists(own._replace(users=np.searchsorted(part, own.users)), len(part), K)
        found.append((each.items, each.known))
    return JudgedLists(*(np.concatenate(column) for column in zip(*found, strict=True)))


def fit(rows: als.Rows, items: int, how: How) -> Real:
    start = als.initial(items, how.factors, np.random.default_rng(SEED))
    *_, fitted = als.train(rows, start, how.iterations, how.objective)
    return fitted.Y


def newest(users: Int, share: float) -> Any:
    """Of each user's events, in order: floor(share x events), or one."""
    counts = np.bincount(users)
    back = np.cumsum(counts)[users] - 1 - np.arange(len(users))
    return back < np.maximum(np.floor(share * counts + 1e-9), share == 0)[users]


def read(folder: Path, shuffled: bool = False) -> tuple[Events, list[str]]:
    """Sorted by user, each user's in order, or in a random one."""
    pairs = READERS[folder.name](folder)
    users = pd.factorize(pairs["user"], sort=True)[0].astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(users)) if shuffled else np.arange(len(users))
    order = order[np.argsort(users[order], kind="stable")]
    names = sorted(pairs["item"].unique())
    paths = pairs["item"].map({item: place for place, item in enumerate(names)}).to_numpy(np.int64)
    action, none = np.full(len(users), ACTIONS.index("view")), np.full(len(users), np.nan)
    return Events(users[order], paths[order], action, none, np.arange(len(users))), names


def _movielens_100k(folder: Path) -> pd.DataFrame:
    rated = pd.read_csv(
        folder / "ml-100k.inter", sep="\t", names=["user", "item", "rating", "s"], skiprows=1, dtype=str
    )
    return rated.sort_values("s", key=lambda column: column.astype(float), kind="stable", ignore_index=True)


def _movielens_1m(folder: Path) -> pd.DataFrame:
    rated = pd.read_parquet(folder / "ratings_no_timestamp.parquet")
    return pd.DataFrame({"user": rated["user"], "item": rated["movie"].astype(str)})


def _beauty(folder: Path) -> pd.DataFrame:
    lines = [line.split() for line in (folder / "Beauty.txt").read_text().splitlines()]
    return pd.DataFrame([(user, item) for user, *items in lines for item in items], columns=["user", "item"])


READERS = {"ml-100k": _movielens_100k, "ml-1m": _movielens_1m, "amazon-beauty": _beauty}

if __name__ == "__main__":
    print(json.dumps({name: measure(case, Path(sys.argv[1])) for name, case in CASES.items()}))
