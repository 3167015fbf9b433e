"""Every family by the night's own steps: NDCG@10 and HR@10, by score, as published, and live; seconds and memory.

Each data set is imported, trained on and evaluated with `headrace import` and `headrace run`. Ratings count as views
where the protocol of the published figures does so. YooChoose has days and an order, but no clock times: they are
spread over the day. Beauty and the NCF split have an order alone; users take turns, a second each. Live is what
`evaluate` replays: the figures of all users, of whom `new` are those without an event before what is held out.

HEADRACE_DATA names the folder of the data sets; --only chooses among them. Figures of at most USERS users.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from benchmarks.clicks import DATA
from benchmarks.harness import Result, console, table
from headrace.infra import paths
from headrace.infra.launch import batch
from headrace.infra.settings import load

FAMILIES = ("popularity", "item_item", "user_knn", "ease", "svd", "nmf", "als", "two_tower")
USERS, DAY_MS, BEGIN_MS = 2000, 86_400_000, 1_767_225_600_000  # 2026-01-01
SESSIONS_DAYS, ITEMS_LEAST = 3, 10  # of YooChoose: days, clicks of an item


class Case(NamedTuple):
    read: Callable[[], pd.DataFrame]  # user_id, item_id, ts_ms, action
    protocol: str


def main(only: str) -> Result:
    """only: such as ml-100k, or als."""
    home, ours, rows = paths.home() / "families", {}, []
    for case, (read, protocol) in CASES.items():
        if only and not re.search(only, case):
            continue
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        ours[case] = _night(home, read(), protocol)
        rows += [(case, family, *figures.values()) for family, figures in ours[case].items()]
    table("Families", ("data", "family", "NDCG", "HR", "raw NDCG", "live NDCG", "live HR", "s", "peak MB"), rows)
    best = {case: max((figures["ndcg"], family) for family, figures in each.items())[1] for case, each in ours.items()}
    worst = min(each[best[case]]["ndcg"] / max(each["popularity"]["ndcg"], 1e-9) for case, each in ours.items())
    conditions = {"users": USERS, "best": best, "protocols": {case: each.protocol for case, each in CASES.items()}}
    return Result("families", ours, {}, round(worst, 2), "popularity's NDCG@10, worst case", "NDCG@10", conditions)


def _night(home: Path, events: pd.DataFrame, protocol: str) -> dict[str, dict[str, float]]:
    file, day = home / "events.parquet", pd.to_datetime(events["ts_ms"].max(), unit="ms").date().isoformat()
    events.to_parquet(file)
    environment = {"HEADRACE_HOME": str(home), "HEADRACE_NIGHT__PROTOCOL": protocol}
    environment |= {"HEADRACE_NIGHT__EVALUATED_USERS": f"{USERS}"}
    _run(environment, "import_file", [str(file), "--time", "ms"])
    cost = {family: _run(environment, family, ["--date", day]) for family in FAMILIES}
    _run(environment, "evaluate", ["--date", day])
    report = msgspec.json.decode((home / "nights" / day / "evaluate" / "report.json").read_bytes())
    return {family: _figures(report, family) | cost[family] for family in FAMILIES if family in report["models"]}


def _run(environment: dict[str, str], step: str, arguments: list[str]) -> dict[str, float]:
    """Runs a step in the batch environment, and returns its seconds and the most memory of a process of it."""
    began_s = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            batch.command(step, arguments), env=batch.environment(load().spark) | environment, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began_s
        said.seek(0)
        last = said.read().decode(errors="replace").splitlines()[-1:]
    console.print(f"{step}: {seconds:.0f} s" if status == 0 else f"[yellow]{step}: {last}")
    return {"seconds": round(seconds, 1), "peak_mb": round(used.ru_maxrss / 1024)}


def _figures(report: dict[str, Any], family: str) -> dict[str, float]:
    night, live = report["models"][family], report["live"]["models"][family]
    found = {"ndcg": night["ndcg"], "hr": night["hit_rate"], "raw_ndcg": night["raw"]["ndcg"]}
    found |= {"live_ndcg": live["ndcg"], "live_hr": live["hit_rate"]}
    return {name: round(each["value"], 4) for name, each in found.items()}


def _in_turns(users: pd.Series, items: pd.Series) -> pd.DataFrame:
    """Returns views in the order of each user, a second apart, over all users at once."""
    place = users.groupby(users).cumcount()
    return pd.DataFrame(
        {"user_id": users.astype(str), "item_id": items.astype(str), "ts_ms": BEGIN_MS + 1000 * place, "action": "view"}
    )


def _movielens_100k() -> pd.DataFrame:
    rated = pd.read_csv(DATA / "ml-100k" / "ml-100k.inter", sep="\t", names=["user", "item", "rating", "s"], skiprows=1)
    times = {"ts_ms": 1000 * rated["s"].astype(int), "action": "view"}
    return pd.DataFrame({"user_id": rated["user"].astype(str), "item_id": rated["item"].astype(str)} | times)


def _movielens_1m() -> pd.DataFrame:
    lists = pd.read_parquet(DATA / "ml-1m" / "sequences.parquet").explode("movies", ignore_index=True)
    return _in_turns(lists["user"], lists["movies"])


def _ncf() -> pd.DataFrame:
    train = pd.read_parquet(DATA / "ncf-ml-1m" / "train.parquet")
    test = pd.read_csv(DATA / "ncf-ml-1m" / "test.rating", sep="\t", names=["user", "item", "rating", "s"])
    both = pd.concat([train, test[["user", "item", "rating"]]], ignore_index=True)
    return _in_turns(both["user"], both["item"])


def _beauty() -> pd.DataFrame:
    lines = [line.split() for line in (DATA / "amazon-beauty" / "Beauty.txt").read_text().splitlines()]
    pairs = pd.DataFrame([(user, item) for user, *items in lines for item in items], columns=["user", "item"])
    return _in_turns(pairs["user"], pairs["item"])


def _yoochoose() -> pd.DataFrame:
    clicks = pd.read_parquet(DATA / "yoochoose_17days.parquet")
    clicks = clicks[clicks["period"].isin(sorted(clicks["period"].unique())[:SESSIONS_DAYS])]
    counts = clicks["item"].map(clicks["item"].value_counts())
    clicks = clicks[counts >= ITEMS_LEAST].reset_index(drop=True)
    day = clicks["period"] - clicks["period"].min()
    place, size = clicks.groupby("period").cumcount(), clicks.groupby("period")["item"].transform("size")
    ts_ms = BEGIN_MS + DAY_MS * day + (DAY_MS * place / size).astype(np.int64)
    return pd.DataFrame(
        {"user_id": clicks["sess"].astype(str), "item_id": clicks["item"].astype(str), "ts_ms": ts_ms, "action": "view"}
    )


def _retail() -> pd.DataFrame:
    rows = pd.read_csv(DATA / "online_retail.csv.xz", dtype={"StockCode": str, "InvoiceNo": str})
    rows = rows[rows["CustomerID"].notna() & (rows["Quantity"] > 0)]
    ts_ms = pd.to_datetime(rows["InvoiceDate"], format="mixed").astype("datetime64[ms]").astype(np.int64)
    bought = {"user_id": rows["CustomerID"].astype(int).astype(str), "item_id": rows["StockCode"], "ts_ms": ts_ms}
    return pd.DataFrame(bought | {"action": "purchase"})


CASES = {
    "ml-100k by time": Case(_movielens_100k, "last:0.2"),
    "beauty": Case(_beauty, "leave_one_out"),
    "yoochoose sessions": Case(_yoochoose, "days:1"),
    "online retail by time": Case(_retail, "days:30"),
    "ml-1m in time order": Case(_movielens_1m, "leave_one_out"),
    "ml-1m, NCF split": Case(_ncf, "leave_one_out"),
}
