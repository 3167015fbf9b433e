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
from headrace.jobs.batch import train
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.night import DAY_MS, Night
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder
from headrace.jobs.batch.training.blocks import Strength
from headrace.jobs.batch.training.night_data import NightData
from headrace.udfs.recommenders import contract
from headrace.udfs.recommenders.factor_scorer import FactorScorer

SCHEMA = """user_id STRING, event_id STRING, item_id STRING, action STRING, rating DOUBLE, t_ms BIGINT,
    category STRING, price DOUBLE, offset BIGINT"""


def main(kind: str, path: str, factors: str) -> None:
    given, settings = asked.read(Path(path)), load()
    spark = session("quality")
    events = spark.createDataFrame(lake(given), SCHEMA)
    night = Night(date(2000, 1, 1))
    strength = Strength(settings.night.als.half_life_days * DAY_MS, settings.night.als.rating_max)
    data = NightData(events, strength, settings.session.history)
    chosen = roster.settings(kind, settings.night).model_copy(update={"factors": int(factors)})
    with tempfile.TemporaryDirectory() as folder:
        (draft := Path(folder) / kind).mkdir()
        about = train.build(draft, kind, data, chosen, night, "ncf")
        model = roster.load(draft)
        assert isinstance(model, FactorScorer)
        found = measured(model, given, strength)
    print(json.dumps(found | {"seconds": about.seconds, "parameters": about.parameters}))


def lake(given: Asked) -> pd.DataFrame:
    """Each event a view, all of one time: of strength 1."""
    users, items = (pd.Series(each).astype(str).str.zfill(8) for each in (given.users, given.items))
    fixed: dict[str, Any] = {"action": "view", "rating": None, "t_ms": 0, "category": None, "price": None}
    fixed |= {"offset": range(len(users))}
    events = pd.DataFrame({"user_id": users, "event_id": [str(n) for n in range(len(users))], "item_id": items})
    return events.assign(**fixed)


def measured(scorer: FactorScorer, given: Asked, strength: Strength) -> dict[str, Any]:
    users, items = given.size
    order = np.argsort(given.users, kind="stable")
    events = lake(given).iloc[order].reset_index(drop=True)
    own = model_folder.events(events, {item: n for n, item in enumerate(scorer.items)})
    X = scorer.user_vectors(contract.past(own, users, len(scorer.items), *strength))
    Y = np.zeros((items, X.shape[1]))
    Y[[int(item) for item in scorer.items]] = scorer.Y
    return {"sampled": asked.sampled(X, Y, given), "full": asked.full(X, Y, given)}


if __name__ == "__main__":
    main(*sys.argv[1:])
