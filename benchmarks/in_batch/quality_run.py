"""Trains one model by a job of the night on an `asked.Asked`, and measures how well it ranks; prints JSON."""

import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.in_batch import asked
from benchmarks.in_batch.asked import Asked
from headrace.infra.settings import load
from headrace.jobs.batch import two_tower
from headrace.jobs.batch.als import build, training
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder
from headrace.jobs.batch.training.scorer import Scorer

SCHEMA = """user_id STRING, event_id STRING, item_id STRING, action STRING, rating DOUBLE, t_ms BIGINT,
    category STRING, price DOUBLE, offset BIGINT"""


def main(kind: str, path: str, factors: str) -> None:
    given, settings = asked.read(Path(path)), load()
    spark = session("quality")
    events = spark.createDataFrame(lake(given), SCHEMA)
    night = Night(date(2000, 1, 1))
    how = training(settings.night.als, settings.session.history)._replace(factors=int(factors))
    with tempfile.TemporaryDirectory() as folder:
        if kind == "als":
            contents, about = build(events, how, night, "ncf", settings.night.als.tolerance)
            model_folder.write(Path(folder), contents, about)
        else:
            chosen = settings.night.two_tower.model_copy(update={"factors": int(factors)})
            about = two_tower.build(events, how, chosen, night, "ncf", Path(folder))
        scorer = model_folder.load(Path(folder))
    print(json.dumps(measured(scorer, given) | {"seconds": about.seconds, "parameters": about.parameters}))


def lake(given: Asked) -> pd.DataFrame:
    """Each event a view, all of one time: of strength 1."""
    users, items = (pd.Series(each).astype(str).str.zfill(8) for each in (given.users, given.items))
    fixed: dict[str, Any] = {"action": "view", "rating": None, "t_ms": 0, "category": None, "price": None}
    fixed |= {"offset": range(len(users))}
    events = pd.DataFrame({"user_id": users, "event_id": [str(n) for n in range(len(users))], "item_id": items})
    return events.assign(**fixed)


def measured(scorer: Scorer, given: Asked) -> dict[str, Any]:
    users, items = given.size
    order = np.argsort(given.users, kind="stable")
    events = lake(given).iloc[order].reset_index(drop=True)
    X = scorer.user_vectors(model_folder.events(events, {item: n for n, item in enumerate(scorer.items)}), users)
    Y = np.zeros((items, X.shape[1]))
    Y[[int(item) for item in scorer.items]] = scorer.item_factors
    return {"sampled": asked.sampled(X, Y, given), "full": asked.full(X, Y, given)}


if __name__ == "__main__":
    main(*sys.argv[1:])
