"""Seconds per iteration of our ALS on Spark, or of pyspark.ml's, on an `asked.Asked`; prints JSON.

pyspark.ml says nothing between iterations: the figure is the difference between a fit of some and a fit of one, once
the JVM is warm.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.in_batch import asked
from benchmarks.in_batch.asked import Asked
from benchmarks.in_batch.quality_run import SCHEMA, lake
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import als_training
from headrace.jobs.batch.training.blocks import Strength
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.night_data import NightData
from headrace.udfs.factors import als

ALPHA, REG = 1.0, 10.0


def main(system: str, path: str, factors: str, iterations: str, tolerance: str) -> None:
    given = asked.read(Path(path))
    spark = session("als")
    if system == "ours":
        found = ours(spark, given, int(factors), int(iterations), float(tolerance))
    else:
        found = theirs(spark, given, int(factors), int(iterations))
    print(json.dumps(found))


def ours(spark: Any, given: Asked, factors: int, iterations: int, tolerance: float) -> dict[str, Any]:
    events = spark.createDataFrame(lake(given), SCHEMA)
    how = Training(factors, iterations, als.hu(ALPHA, REG), float("inf"), 5.0, 50, seed=1)
    began = time.perf_counter()
    data = NightData(events, Strength(how.half_life_ms, how.rating_max), how.history)
    items, strengths = data.items, data.matrix()
    prepared_s, took_s = time.perf_counter() - began, []
    start, began = als.initial(len(items), factors, np.random.default_rng(1)), time.perf_counter()
    for fitted in als_training.iterations(strengths, start, how, tolerance):  # noqa: B007
        took_s.append(time.perf_counter() - began)
        began = time.perf_counter()
    X, Y = (np.zeros((size, factors), np.float32) for size in given.size)
    X[np.unique(given.users)], Y[[int(item) for item in items]] = fitted.X, fitted.Y
    return {"iteration_s": took_s[1:], "prepare_s": prepared_s} | asked.sampled(X, Y, given)


def theirs(spark: Any, given: Asked, factors: int, iterations: int) -> dict[str, Any]:
    from pyspark.ml.recommendation import ALS

    events = spark.createDataFrame(pd.DataFrame({"user": given.users, "item": given.items, "rating": 1.0}))
    events = events.groupBy("user", "item").sum("rating").withColumnRenamed("sum(rating)", "rating").cache()
    mean = events.count() / len(np.unique(given.users))
    took_s = []
    for n in (1, 1, iterations):  # the first warms the JVM up
        began = time.perf_counter()
        model = ALS(rank=factors, maxIter=n, regParam=REG / mean, implicitPrefs=True, alpha=ALPHA, seed=1).fit(events)
        model.itemFactors.count()
        took_s.append(time.perf_counter() - began)
    X, Y = (np.zeros((size, factors), np.float32) for size in given.size)
    for matrix, side in ((X, model.userFactors), (Y, model.itemFactors)):
        found = side.toPandas()
        matrix[found.id.to_numpy()] = np.stack(found.features.to_numpy())
    return {"iteration_s": [(took_s[2] - took_s[1]) / (iterations - 1)]} | asked.sampled(X, Y, given)


if __name__ == "__main__":
    main(*sys.argv[1:])
