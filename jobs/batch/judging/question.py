"""What `evaluate` asks: which users, what they wanted, and what is known of them."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.judging import recommenders
from headrace.jobs.batch.judging.user_batches import Batches, whole_users
from headrace.jobs.batch.training import model_folder, neighbourhoods
from headrace.udfs.evaluation.ranking import Int, Relevant
from headrace.udfs.factors.als import Rows


class Question(NamedTuple):
    """What every recommender is asked, and what it may use to answer."""

    items: list[str]  # of the events and of all models, in code point order
    users: list[str]  # whose lists are asked for
    relevant: Relevant  # the items that they wanted in the held-out events
    history: Int  # (users,): how many items each had seen before
    R: sparse.csr_matrix  # (all users, items): strength > 0 in the training events; at most BASKET items each
    item_users: Int  # (items,): users of strength > 0 in the training events
    users_trained: int  # those with such an item


def ask(events: DataFrame, more_items: set[str], users_max: int) -> Question:
    """Returns the question. Raises HeadraceError if the held-out events have no item that is new to its user."""
    clicked = events.where(F.col("action") != "search").select("item_id").distinct().collect()
    items = sorted(more_items | {row.item_id for row in clicked})
    places = events.sparkSession.sparkContext.broadcast(places_of(items))
    outline = "user_id string, history int, items array<int>, relevant array<int>"
    users = events.mapInPandas(lambda batches: outlined(batches, places.value), outline).toPandas()
    users = users.sort_values("user_id", ignore_index=True)
    wanting = users[users["relevant"].map(len) > 0]
    if wanting.empty:
        raise HeadraceError("the protocol must hold out an item that a user had not seen before, found none")
    chosen = sampled(wanting, users_max)
    relevant = Relevant(
        np.concatenate([[0], np.cumsum(chosen["relevant"].map(len))]), _joined(list(chosen["relevant"]))
    )
    history, baskets = chosen["history"].to_numpy(np.int64), list(users["items"])
    taken, indptr = _joined(baskets), np.concatenate([[0], np.cumsum([len(basket) for basket in baskets])])
    R = neighbourhoods.baskets(Rows(indptr.astype(np.int64), taken, np.ones(len(taken))), len(items))
    item_users = np.bincount(taken, minlength=len(items))
    trained = sum(len(basket) > 0 for basket in baskets)
    return Question(items, chosen["user_id"].tolist(), relevant, history, R, item_users, trained)


def sampled(users: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """Returns at most so many users, drawn by a hash of the id: the same ones from night to night."""
    order = np.argsort([zlib.crc32(user.encode()) for user in users["user_id"]], kind="stable")[:at_most]
    return users.iloc[np.sort(order)]


def choosers(users: list[str]) -> NDArray[np.bool_] | None:
    """Returns the half of the users who choose among the models, by a hash of the id; None if a half is empty."""
    chosen = np.array([zlib.crc32(f"chooses {user}".encode()) & 1 == 1 for user in users])
    return chosen if chosen.any() and not chosen.all() else None


def outlined(batches: Batches, places: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yields for each user how many items they had seen, which they wanted, and which new ones they want later."""
    for rows in whole_users(batches):
        names, events, held = rows["user_id"].unique(), model_folder.events(rows, places), rows["held"].to_numpy()
        before = recommenders.plain(events.where(~held), len(names), len(places))
        after = recommenders.plain(events.where(held), len(names), len(places)).rows
        seen = before.seen.users * len(places) + before.seen.items
        owners = np.repeat(np.arange(len(names)), np.diff(after.indptr))
        fresh = ~np.isin(owners * len(places) + after.columns, seen)
        ends = np.cumsum(np.bincount(owners[fresh], minlength=len(names)))[:-1]
        yield pd.DataFrame(
            {
                "user_id": names,
                "history": np.bincount(before.seen.users, minlength=len(names)),
                "items": np.split(before.rows.columns, before.rows.indptr[1:-1]),
                "relevant": np.split(after.columns[fresh], ends),
            }
        )


def places_of(items: list[str]) -> dict[str, int]:
    return {item: place for place, item in enumerate(items)}


def _joined(items: list[Int]) -> Int:
    return np.concatenate(items).astype(np.int64)
