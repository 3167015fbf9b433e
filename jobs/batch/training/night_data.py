"""What a night's families learn from: {lake}/clicks up to the night, without what the split holds out.

Nothing is read before a family asks for it, and nothing twice.
"""

from functools import cached_property

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.training import blocks, model_folder, split
from headrace.jobs.batch.training.blocks import Matrix, Strength
from headrace.udfs.factors.als import Int, Rows
from headrace.udfs.factors.confidence import Events


class NightData:
    """`TrainingData` of udfs/recommenders/contract.py."""

    def __init__(self, events: DataFrame, strength: Strength, history: int) -> None:
        """history: events of a user that the stream keeps."""
        self.strength, self.history, self._events = strength, history, events

    @cached_property
    def events(self) -> DataFrame:
        return blocks.kept(self._events)

    @cached_property
    def size(self) -> int:
        return int(self.events.count())

    @cached_property
    def items(self) -> list[str]:
        """The items of the events, in code point order; a search names none. Raises Refusal if there are none."""
        rows = self.events.where(F.col("action") != "search").select("item_id").distinct().collect()
        if not rows:
            raise split.nothing_left()
        return sorted(row.item_id for row in rows)

    def matrix(self) -> Matrix:
        """Returns the strengths in blocks of users and of items."""
        return self._matrix

    def rows(self) -> Rows:
        return self._gathered[0]

    def features(self) -> Int:
        return self._gathered[1]

    def sequences(self) -> Events:
        """Returns all events, in the driver: 40 bytes each."""
        columns = model_folder.columns(self.events)
        lake = split.in_order(self.events.coalesce(1)).select(*columns).toPandas()
        return model_folder.events(lake, {item: place for place, item in enumerate(self.items)})

    @property
    def users(self) -> int:
        return len(self._user_lengths)

    @property
    def item_users(self) -> Int:
        """How many users wanted each item, (items,)."""
        if "_matrix" in vars(self):
            return self._matrix.by_item.lengths
        return np.bincount(self.rows().columns, minlength=len(self.items))

    @property
    def _user_lengths(self) -> Int:
        if "_matrix" in vars(self):
            return self._matrix.by_user.lengths
        return np.diff(self.rows().indptr)

    @cached_property
    def _matrix(self) -> Matrix:
        count = blocks.count(self.size, self.events.sparkSession.sparkContext.defaultParallelism)
        return blocks.matrix(self.events, self.items, self.strength, count)

    @cached_property
    def _gathered(self) -> tuple[Rows, Int]:
        rows, features = blocks.gathered(self.events, self.items, self.strength)
        if len(rows.indptr) < 3:
            raise HeadraceError(f"training needs at least 2 users, got {len(rows.indptr) - 1}")
        return rows, features
