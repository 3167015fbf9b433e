"""The night's models on events that none was trained on, beside popularity, item-item and the version that serves.

source     {lake}/clicks up to the night, split by [night] protocol; the model folders of the night; the serving version
transform  lists of K items a user in Spark partitions (jobs/batch/judging/recommenders.py) -> metrics
           (jobs/batch/judging/figures.py)
sink       evaluate/report.json and report.html; docs/night.md, "Evaluation", explains each number

Run: headrace run evaluate --date 2026-01-31

The driver holds the lists and each user's items: 1 million users with 50 items each are 200 MB.
"""

import argparse
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import load
from headrace.infra.versions import store
from headrace.jobs.batch import night
from headrace.jobs.batch.judging import figures, recommenders, report
from headrace.jobs.batch.judging.recommenders import Lists, Recommender
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import listing
from headrace.jobs.batch.publishing.listing import Listing
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder, split
from headrace.jobs.batch.training.scorer import Scorer
from headrace.udfs.evaluation import ranking
from headrace.udfs.evaluation.ranking import Int, Relevant, Similarity

STEP = "evaluate"
CHAMPION = "champion"
Batches = Iterable[pd.DataFrame]


class Question(NamedTuple):
    """What every recommender is asked, and what it may use to answer."""

    items: list[str]  # of the events and of all models, in code point order
    users: list[str]  # whose lists are asked for
    relevant: Relevant  # the items that they wanted in the held-out events
    history: Int  # (users,): how many items each had seen before
    R: sparse.csr_matrix  # (all users, items): strength > 0 in the training events; at most BASKET items a user
    item_users: Int  # (items,): users of strength > 0 in the training events
    users_trained: int  # those with such an item


class Contest(NamedTuple):
    """The models that are compared."""

    folders: dict[str, Path]  # of the night's models
    champion: str | None  # a version
    comparable: bool = False  # the champion cannot have seen what is held out


class Asked(NamedTuple):
    """What a worker needs to answer."""

    places: dict[str, int]  # of items
    users: frozenset[str]
    recommenders: dict[str, Recommender]
    k: int


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    began, settings = time.monotonic(), load().night
    contest = contestants(tonight, settings.protocol)
    with tonight.writing(STEP) as draft:
        clicks = read(tonight)
        how = listing.of(settings, clicks, settings.k)
        results = build(split.held(clicks, settings.protocol), contest, how, settings.evaluated_users)
        results |= {"date": tonight.date.isoformat(), "protocol": settings.protocol, "checks": checks(tonight)}
        results |= {"seconds": round(time.monotonic() - began, 1)}
        durable.write(draft / "report.json", msgspec.json.format(msgspec.json.encode(results), indent=1))
        durable.write(draft / "report.html", report.page(results).encode())
    best = results["models"][results["chosen"]]["ndcg"]["value"]
    print(f"{STEP} of {tonight.date}: {results['chosen']} with NDCG@{settings.k} {best:.4f}: {tonight.folder / STEP}")


def read(tonight: Night) -> DataFrame:
    from headrace.jobs.batch.lake import tables
    from headrace.jobs.batch.publishing import popular

    return popular.placed(tables.clicks(session(STEP), tonight.date), load().night)


def contestants(tonight: Night, protocol: str) -> Contest:
    """Returns the night's models with finite factors, and the champion. Raises Refusal if no model has any."""
    folders = model_folder.of(tonight)
    broken = [step for step, folder in folders.items() if not np.isfinite(np.load(folder / store.FACTORS)).all()]
    for step in broken:
        print(f"{step} of {tonight.date} is left out: its item factors must be finite")
        del folders[step]
    if not folders:
        raise Refusal(f"evaluate of {tonight.date}: item factors must be finite, got none that are")
    champion = store.current()
    if champion is None:
        return Contest(folders, None)
    lineage = store.manifest(champion.version).lineage
    return Contest(folders, champion.version, split.is_unseen(lineage, protocol, tonight.date))


def build(events: DataFrame, contest: Contest, how: Listing, users_max: int) -> dict[str, Any]:
    """Returns the report, without what only the night knows. events: all of the night, with `held`."""
    # (user_id, item_id, action, rating, t_ms, ..., event_id, category, held), a user's rows together and by time
    columns = [*model_folder.columns(events), *split.TIES, "category", "held"]
    kept = split.in_order(events.select(*columns).repartition("user_id")).drop("offset").persist()
    expected = split.digest(kept.where(~F.col("held")))
    question = ask(kept, known_items(contest), users_max)
    cosines = recommenders.Cosines(question.R)
    lists = answer(kept, question, every_recommender(question, contest, cosines, how), how.wish.n)
    choosing = choosers(question.users) if len(contest.folders) > 1 else None
    about = figures.About(question.relevant, question.history, question.item_users, question.users_trained, choosing)
    similar = {"diversity": cosines, "category_diversity": categories(kept, question.items)}
    kept.unpersist()
    return figures.summary(lists, about, similar, list(contest.folders)) | {
        "about": {name: msgspec.to_builtins(model_folder.description(path)) for name, path in contest.folders.items()},
        "champion": champion(contest.champion, contest.comparable) if contest.champion else None,
        "digests": {name: {"trained": _digest(path), "expected": expected} for name, path in contest.folders.items()},
        "catalogue": {name: share(model_folder.item_ids(path), question) for name, path in contest.folders.items()},
        "files": {name: model_folder.sha256(path) for name, path in contest.folders.items()},
    }


def known_items(contest: Contest) -> set[str]:
    items = {item for folder in contest.folders.values() for item in model_folder.item_ids(folder)}
    return items | set(store.load(contest.champion).contents.items if contest.champion else ())


def ask(events: DataFrame, more_items: set[str], users_max: int) -> Question:
    """Returns the question. Raises HeadraceError if the held-out events have no item that is new to its user."""
    clicked = events.where(F.col("action") != "search").select("item_id").distinct().collect()
    items = sorted(more_items | {row.item_id for row in clicked})
    places = events.sparkSession.sparkContext.broadcast(_places(items))
    outline = "user_id string, history int, items array<int>, relevant array<int>"
    users = events.mapInPandas(lambda batches: outlined(batches, places.value), outline).toPandas()
    users = users.sort_values("user_id", ignore_index=True)
    wanting = users[users["relevant"].map(len) > 0]
    if wanting.empty:
        raise HeadraceError("the protocol must hold out an item that a user had not seen before, found none")
    chosen = sampled(wanting, users_max)
    relevant = Relevant(np.concatenate([[0], np.cumsum(chosen["relevant"].map(len))]), _joined(chosen["relevant"]))
    history, baskets = chosen["history"].to_numpy(np.int64), list(users["items"])
    R, item_users = recommenders.baskets(baskets, len(items)), np.bincount(_joined(baskets), minlength=len(items))
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


def every_recommender(
    question: Question, contest: Contest, cosines: recommenders.Cosines, how: Listing
) -> dict[str, Recommender]:
    """Returns the recommenders. Models are loaded here and sent to the workers, which need not see the files.

    A model is there twice: as readers get it, and under figures.raw(name) as it ranks by score alone.
    """
    places, by_score = _places(question.items), listing.by_score(how.wish.n)
    listed = np.array([place for item, place in places.items() if not how.item_rules.forbids(item)], np.int64)
    every: dict[str, Recommender] = {"popularity": recommenders.Popularity(question.item_users, listed)}
    every["item_item"] = recommenders.ItemItem(cosines.neighbours(), question.item_users, listed)
    for name, folder in contest.folders.items():
        scorer: Scorer = model_folder.load(folder)
        every[name] = recommenders.FactorModel(scorer, places, how)
        every[figures.raw(name)] = recommenders.FactorModel(scorer, places, by_score)
    if contest.champion:
        every[CHAMPION] = recommenders.FactorModel(recommenders.Published(contest.champion), places, how)
    return every


def answer(events: DataFrame, question: Question, every: dict[str, Recommender], k: int) -> dict[str, Lists]:
    """Returns each recommender's lists, in the order of question.users; the popular list for a user unknown to it."""
    schema = ", ".join(["user_id string", *(f"{name} array<int>, knows_{name} boolean" for name in every)])
    asked = Asked(_places(question.items), frozenset(question.users), every, k)
    shared = events.sparkSession.sparkContext.broadcast(asked)
    lists = events.mapInPandas(lambda batches: answered(batches, shared.value), schema).toPandas()
    lists = lists.set_index("user_id").loc[question.users]
    return {name: Lists(np.stack(list(lists[name])), lists[f"knows_{name}"].to_numpy(bool)) for name in every}


def answered(batches: Batches, asked: Asked) -> Iterator[pd.DataFrame]:
    for rows in whole_users(batches):
        chosen = rows[rows["user_id"].isin(asked.users)]
        if len(chosen):
            names, events = chosen["user_id"].unique(), model_folder.events(chosen, asked.places)
            before = events.where(~chosen["held"].to_numpy(bool))
            lists = {name: each.lists(before, len(names), asked.k) for name, each in asked.recommenders.items()}
            yield pd.DataFrame({"user_id": names} | filled(lists))


def filled(lists: dict[str, Lists]) -> dict[str, Any]:
    """Returns the lists as columns, with the popular list for a user unknown to a recommender."""
    popular = lists["popularity"].items
    columns: dict[str, Any] = {}
    for name, (items, known) in lists.items():
        columns |= {name: list(np.where(known[:, None], items, popular)), f"knows_{name}": known}
    return columns


def whole_users(batches: Batches) -> Iterator[pd.DataFrame]:
    """Yields batches that split no user. batches: sorted by user; Arrow cuts them anywhere."""
    rest: pd.DataFrame | None = None
    for rows in batches:
        rows = rows if rest is None else pd.concat([rest, rows], ignore_index=True)
        if rows.empty:
            continue
        last = (rows["user_id"] == rows["user_id"].iloc[-1]).to_numpy()
        if not last.all():
            yield rows[~last]
        rest = rows[last]
    if rest is not None:
        yield rest


def categories(events: DataFrame, items: list[str]) -> Similarity | None:
    """Returns the similarity by category: an item's is the one that most of its events name. None if no event does."""
    named = events.where(F.col("category").isNotNull() & (F.col("action") != "search"))
    by_item = named.groupBy("item_id").agg(F.mode("category", True).alias("category")).toPandas()
    if by_item.empty:
        return None
    codes = pd.Series(pd.factorize(by_item["category"], sort=True)[0], by_item["item_id"])
    return ranking.same(codes.reindex(items, fill_value=-1).to_numpy(np.int64))


def champion(version: str, comparable: bool) -> dict[str, Any]:
    return {"version": version, "kind": store.manifest(version).kind, "comparable": comparable}


def share(items: list[str], question: Question) -> float:
    """Returns the share of the items with users in the training events that a model knows."""
    wanted = question.item_users > 0
    return float(np.mean(np.isin(np.array(question.items, object)[wanted], np.array(items, object))))


def checks(tonight: Night) -> dict[str, Any]:
    """Returns the newer of the two verdicts that the step `check` may leave."""
    done, refused = tonight.folder / "check", tonight.folder / "check-refused"
    passed = done.is_dir() and not (refused.is_dir() and refused.stat().st_mtime > done.stat().st_mtime)
    return {"passed": passed, "report": f"../{(done if passed else refused).name}/report.html"}


def _digest(folder: Path) -> str:
    return str(model_folder.description(folder).lineage.get("digest"))


def _places(items: list[str]) -> dict[str, int]:
    return {item: place for place, item in enumerate(items)}


def _joined(items: Iterable[Int]) -> Int:
    return np.concatenate(list(items)).astype(np.int64)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
