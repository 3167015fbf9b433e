"""Events -> the sparse matrix of strengths, twice: users in blocks, items in blocks, each block an element of an RDD.

Rows have the same order with any number of blocks: users by user_id, items by their place. A block holds consecutive
rows, so a side's factors are those of its blocks one after the other. On one machine the driver collects the blocks,
unless there are more than HERE_MAX events.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from pyspark import RDD, Broadcast, StorageLevel
from pyspark.sql import DataFrame

from headrace.jobs.batch.spark import on_one_machine
from headrace.jobs.batch.training import fork_map, model_folder, split
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Int, Rows
from headrace.udfs.factors.confidence import histories, user_features

T = TypeVar("T")
KEPT = StorageLevel.MEMORY_AND_DISK
LARGEST = 5_000_000  # events of a block, 40 MB
HERE_MAX = 100_000_000  # events whose blocks the driver holds, both sides: 1.6 GB, and as much again on their way


class Strength(NamedTuple):
    """How events become strengths (udfs/factors/confidence.py)."""

    half_life_ms: float
    rating_max: float


class Side(NamedTuple):
    blocks: Any  # RDD of Rows; on one machine a list of them
    lengths: Int  # entries of each row of the side

    @contextmanager
    def shared(self, value: T) -> Iterator[Callable[[], T]]:
        """Yields a function that returns the value where the blocks are."""
        if isinstance(self.blocks, list):
            yield lambda: value
            return
        broadcast = self.blocks.context.broadcast(value)
        try:
            yield partial(getattr, broadcast, "value")
        finally:
            broadcast.destroy()

    def map(self, solve: Callable[[Rows], T]) -> list[T]:
        """Returns the result of `solve` for each block."""
        if isinstance(self.blocks, list):
            return fork_map.each(solve, self.blocks)
        return list(self.blocks.map(solve).collect())


class Matrix(NamedTuple):
    by_user: Side
    by_item: Side

    def here(self) -> "Matrix":
        """Returns the matrix with its blocks in the driver."""
        matrix = Matrix(*(side._replace(blocks=side.blocks.collect()) for side in self))
        self.unpersist()
        return matrix

    def unpersist(self) -> None:
        for side in self:
            if not isinstance(side.blocks, list):
                side.blocks.unpersist()


def count(events: int, cores: int) -> int:
    """Returns the number of blocks of a side: one per core, or more if they would be larger than LARGEST.

    One, because a task costs as much as some 100,000 entries.
    """
    return cores * max(1, -(-events // (cores * LARGEST)))


def kept(events: DataFrame) -> DataFrame:
    """Keeps events that are read several times, in few partitions: Spark does not join those of a kept plan itself."""
    return events.coalesce(2 * events.sparkSession.sparkContext.defaultParallelism).persist(KEPT)


def matrix(events: DataFrame, items: list[str], how: Strength, blocks: int) -> Matrix:
    """Returns the matrix. events: rows of the lake with model_folder.COLUMNS and split.TIES."""
    users = _by_user(events, items, how, blocks).map(lambda block: block[0]).persist(KEPT)  # Rows, one per block
    numbered = users.mapPartitionsWithIndex(lambda index, rows: [(index, _lengths(rows))]).collect()
    user_lengths = [lengths for _, lengths in sorted(numbered, key=lambda each: each[0])]
    item_lengths = users.map(partial(_counted, items=len(items))).reduce(np.add)
    by_item = _transposed(users, user_lengths, item_lengths, blocks)
    both = Matrix(Side(users, np.concatenate(user_lengths)), Side(by_item, item_lengths))
    return both.here() if on_one_machine(events.sparkSession) and item_lengths.sum() <= HERE_MAX else both


def gathered(events: DataFrame, items: list[str], how: Strength) -> tuple[Rows, Int]:
    """Returns all users' rows, in the driver, and each user's features (udfs/factors/confidence.py)."""
    blocks = _by_user(events, items, how, events.sparkSession.sparkContext.defaultParallelism).collect()
    parts, features = zip(*blocks, strict=True)
    lengths = np.concatenate([np.diff(rows.indptr) for rows in parts])
    columns, strengths = (np.concatenate(column) for column in list(zip(*parts, strict=True))[1:])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(indptr, columns.astype(np.int64), strengths.astype(np.float64)), np.concatenate(features)


def _by_user(events: DataFrame, items: list[str], how: Strength, blocks: int) -> "RDD[tuple[Rows, Int]]":
    places = events.sparkSession.sparkContext.broadcast({item: place for place, item in enumerate(items)})
    columns = model_folder.columns(events)
    whole_users = events.select(*columns, *split.TIES).repartitionByRange(blocks, "user_id")
    # (user_id, item_id, action, rating, t_ms, ...)
    in_order = split.in_order(whole_users).select(*columns)
    pickled = in_order.mapInPandas(partial(_user_rows, places=places, how=how), "rows binary")
    return pickled.rdd.map(lambda record: pickle.loads(record.rows))


def _user_rows(frames: Iterator[pd.DataFrame], places: Broadcast[dict[str, int]], how: Strength) -> Iterator[Any]:
    """Yields one record: the rows of a partition's users, and their features."""
    lake = pd.concat(list(frames) or [pd.DataFrame()], ignore_index=True)
    if len(lake):
        events = model_folder.events(lake, places.value)
        users = int(events.users[-1]) + 1
        rows = histories(events, users, len(places.value), how.half_life_ms, how.rating_max).rows
        yield pd.DataFrame({"rows": [pickle.dumps((_small(rows), user_features(events, users)))]})


def _small(rows: Rows) -> Rows:
    """Returns the rows in half the bytes to move: an item's place and a strength fit 32 bits each."""
    return Rows(rows.indptr, rows.columns.astype(np.int32), rows.strengths.astype(np.float32))


def _lengths(blocks: Iterator[Rows]) -> Int:
    return np.concatenate([np.empty(0, np.int64), *(np.diff(rows.indptr) for rows in blocks)])


def _counted(rows: Rows, items: int) -> Int:
    return np.bincount(rows.columns, minlength=items)


def _transposed(users: Any, user_lengths: list[Int], item_lengths: Int, blocks: int) -> "RDD[Rows]":
    """Returns the item blocks, with about equally many entries each."""
    shares = np.linspace(0, item_lengths.sum(), blocks + 1)[1:-1]
    bounds = np.concatenate([[0], np.searchsorted(item_lengths.cumsum(), shares), [len(item_lengths)]])
    before = np.concatenate([[0], np.cumsum([len(lengths) for lengths in user_lengths])])
    cut = partial(_cut, before=before, bounds=bounds)
    # (item block, [(user block, rows of the items), ...])
    parts = users.mapPartitionsWithIndex(cut).groupByKey(blocks, partitionFunc=int)
    return parts.map(lambda part: _joined(list(part[1]))).persist(KEPT)


def _cut(index: int, blocks: Iterator[Rows], before: Int, bounds: Int) -> Iterator[tuple[int, tuple[int, Rows]]]:
    """Yields each item block's part of a user block: (item block, (user block, rows of the items))."""
    for rows in blocks:
        transposed = als.transpose(rows, int(bounds[-1]))
        users = (transposed.columns + before[index]).astype(np.int32)
        for block, (first, end) in enumerate(pairwise(bounds)):
            entries = slice(transposed.indptr[first], transposed.indptr[end])
            indptr = transposed.indptr[first : end + 1] - transposed.indptr[first]
            yield block, (index, Rows(indptr, users[entries], transposed.strengths[entries]))


def _joined(parts: list[tuple[int, Rows]]) -> Rows:
    """Joins the parts that all user blocks have of one item block, users in order."""
    every = [rows for _, rows in sorted(parts, key=lambda part: part[0])]
    owners = np.concatenate([np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr)) for rows in every])
    order = np.argsort(owners, kind="stable")
    indptr = np.sum([rows.indptr for rows in every], axis=0)
    columns, strengths = (np.concatenate(column)[order] for column in list(zip(*every, strict=True))[1:])
    return Rows(indptr, columns, strengths)
