"""The night's models on events that none was trained on, beside the popular list and the version that serves.

source     {lake}/clicks up to the night, split by [night] protocol; the model folders of the night; the serving version
transform  lists of K items a user in Spark partitions (jobs/batch/judging/recommenders.py) -> metrics
           (jobs/batch/judging/figures.py)
sink       evaluate/report.json and report.html; docs/night.md, "Evaluation", explains each number

Run: headrace run evaluate --date 2026-01-31

The driver holds the lists and each user's items: 1 million users with 50 items each are 200 MB.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.extensions import label
from headrace.infra.settings import load
from headrace.infra.versions import model_files, store
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch import night
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.judging import figures, live_path, recommenders, report
from headrace.jobs.batch.judging.figures import JudgedLists
from headrace.jobs.batch.judging.limits import gate_profile
from headrace.jobs.batch.judging.question import Question, ask, choosers, places_of
from headrace.jobs.batch.judging.recommenders import Contestant
from headrace.jobs.batch.judging.user_batches import Batches, whole_users
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import listing
from headrace.jobs.batch.publishing.listing import Listing
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder, split
from headrace.schemas import redis_keys
from headrace.udfs.evaluation import ranking
from headrace.udfs.evaluation.ranking import Similarity
from headrace.udfs.recommenders.contract import Lists, LiveScorer, Recommender

STEP = "evaluate"
CHAMPION = "champion"
STRENGTH = ("half_life_ms", "rating_max", "history")  # parameters that every model has


class Opened(NamedTuple):
    """A model that is judged."""

    folder: Path
    recommender: Recommender  # as `precompute` asks it
    live: LiveScorer  # as the stream asks it
    about: Trained


class Contest(NamedTuple):
    """The models that are compared."""

    models: dict[str, Opened]  # of the night
    champion: Opened | None = None  # the version that serves
    comparable: bool = False  # the champion cannot have seen what is held out

    @property
    def all(self) -> list[Opened]:
        return [*self.models.values(), *([self.champion] if self.champion else [])]


class Asked(NamedTuple):
    """What a worker needs to answer."""

    places: dict[str, int]  # of items
    users: frozenset[str]
    contestants: dict[str, Contestant]
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
        live_loss = gate_profile(Path(settings.gates_file), settings.gates).live_loss
        held = split.held(clicks, settings.protocol)
        results = build(held, contest, how, settings.evaluated_users, live_loss)
        results |= {"date": tonight.date.isoformat(), "protocol": settings.protocol, "checks": checks(tonight)}
        results |= {"absent": absent(settings.models, contest), "seconds": round(time.monotonic() - began, 1)}
        durable.write(draft / "report.json", msgspec.json.format(msgspec.json.encode(results), indent=1))
        durable.write(draft / "report.html", report.page(results).encode())
    best = results["models"][results["chosen"]]["ndcg"]["value"]
    without = f", without {', '.join(results['absent'])}" if results["absent"] else ""
    figure = f"NDCG@{settings.k} {best:.4f}{without}"
    print(f"{STEP} of {tonight.date}: {results['chosen']} with {figure}: {tonight.folder / STEP}")


def read(tonight: Night) -> DataFrame:
    from headrace.jobs.batch.lake import tables
    from headrace.jobs.batch.publishing import popular

    return popular.placed(tables.clicks(session(STEP), tonight.date), load().night)


def contestants(tonight: Night, protocol: str) -> Contest:
    """Returns the night's models that can be judged, and the champion. Raises Refusal if there are none."""
    models = {}
    for step, folder in model_folder.of(tonight).items():
        try:
            models[step] = opened(folder)
        except HeadraceError as error:
            print(f"{step} of {tonight.date} is left out: {error}")
    if not models:
        raise Refusal(f"evaluate of {tonight.date}: no model of the night is sound")
    pointer = store.current()
    if pointer is None:
        return Contest(models)
    try:
        served = opened(store.load(pointer.version).folder)
    except HeadraceError as error:  # such as of a family that is gone: the night may find a better one
        print(f"the champion {pointer.version} is left out: {error}")
        return Contest(models)
    return Contest(models, served, split.is_unseen(served.about.lineage, protocol, tonight.date))


def opened(folder: Path) -> Opened:
    """Opens a model. Raises HeadraceError if it does not load, or is not sound."""
    about, recommender = model_files.description(folder), roster.load(folder)
    if lacking := [name for name in STRENGTH if name not in about.parameters]:
        raise HeadraceError(f"its parameters must have {', '.join(lacking)}")
    if faults := recommender.sound():
        raise HeadraceError("; ".join(faults))
    same = roster.is_live(folder)
    return Opened(folder, recommender, recommender if same else roster.live(folder), about)


def absent(wanted: Iterable[str], contest: Contest) -> list[str]:
    """Returns the models of the settings that are not judged: they failed, or were not asked for."""
    return [name for name in map(label, wanted) if name not in contest.models]


def build(events: DataFrame, contest: Contest, how: Listing, users_max: int, live_loss: float = 1.0) -> dict[str, Any]:
    """Returns the report, without what only the night knows. events: all of the night, with `held`.

    live_loss: the gate's, beyond which a model is chosen only if there is no other.
    """
    # (user_id, item_id, action, rating, t_ms, ..., event_id, category, held), a user's rows together and by time
    columns = [*model_folder.columns(events), *split.TIES, "category", "held"]
    kept = split.in_order(events.select(*columns).repartition("user_id")).drop("offset").persist()
    expected = split.digest(kept.where(~F.col("held")))
    from_ms = kept.where("held").agg(F.min("t_ms")).first()[0] or 0
    question = ask(kept, known_items(contest), users_max)
    cosines = recommenders.Cosines(question.R)
    lists = answer(kept, question, every_contestant(question, contest, how), how.wish.n)
    choosing = choosers(question.users) if len(contest.models) > 1 else None
    about = figures.About(question.relevant, question.history, question.item_users, question.users_trained, choosing)
    similar = {"diversity": cosines, "category_diversity": categories(kept, question.items)}
    live = replayed(kept, question, contest, how, choosing)
    by_live = {name: each["ndcg"] for name, each in live["choice"].items()}
    kept.unpersist()
    models = contest.models.items()
    return figures.summary(lists, about, similar, list(contest.models), lossy(live, live_loss), by_live) | {
        "live": live,
        "about": {name: msgspec.to_builtins(each.about) for name, each in models},
        "champion": champion(contest.champion, contest.comparable) if contest.champion else None,
        "digests": {name: {"trained": shown(each, from_ms), "expected": expected} for name, each in models},
        "catalogue": {name: share(each.recommender.items, question) for name, each in models},
        "files": {name: durable.hashes(each.folder) for name, each in models},
    }


def known_items(contest: Contest) -> set[str]:
    return {item for each in contest.all for item in each.recommender.items}


def every_contestant(question: Question, contest: Contest, how: Listing) -> dict[str, Contestant]:
    """Returns those who answer. Models are sent to the workers, which need not see the files.

    A model is there twice: as readers get it, and under figures.raw(name) as it ranks by score alone.
    """
    places, by_score = places_of(question.items), listing.by_score(how.wish.n)
    every: dict[str, Contestant] = {"popularity": popularity(question, places, how)}
    for name, each in contest.models.items():
        every[name] = recommenders.NightModel(each.recommender, each.about.strength, places, how)
        every[figures.raw(name)] = recommenders.NightModel(each.recommender, each.about.strength, places, by_score)
    if contest.champion:
        served = contest.champion
        every[CHAMPION] = recommenders.NightModel(served.recommender, served.about.strength, places, how)
    return every


def popularity(question: Question, places: dict[str, int], how: Listing) -> recommenders.PopularList:
    listed = np.array([place for item, place in places.items() if not how.item_rules.forbids(item)], np.int64)
    return recommenders.PopularList(question.item_users, listed)


def answer(events: DataFrame, question: Question, every: dict[str, Contestant], k: int) -> dict[str, JudgedLists]:
    """Returns each contestant's lists, in the order of question.users; the popular list for a user unknown to it."""
    schema = ", ".join(["user_id string", *(f"`{name}` array<int>, `knows_{name}` boolean" for name in every)])
    asked = Asked(places_of(question.items), frozenset(question.users), every, k)
    shared = events.sparkSession.sparkContext.broadcast(asked)
    lists = events.mapInPandas(lambda batches: answered(batches, shared.value), schema).toPandas()
    lists = lists.set_index("user_id").loc[question.users]
    return {name: JudgedLists(np.stack(list(lists[name])), lists[f"knows_{name}"].to_numpy(bool)) for name in every}


def answered(batches: Batches, asked: Asked) -> Iterator[pd.DataFrame]:
    for rows in whole_users(batches):
        chosen = rows[rows["user_id"].isin(asked.users)]
        if len(chosen):
            names, events = chosen["user_id"].unique(), model_folder.events(chosen, asked.places)
            before = events.where(~chosen["held"].to_numpy(bool))
            lists = {name: each.lists(before, len(names), asked.k) for name, each in asked.contestants.items()}
            yield pd.DataFrame({"user_id": names} | filled(lists))


def replayed(
    events: DataFrame, question: Question, contest: Contest, how: Listing, choosing: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Returns the figures of the live path (jobs/batch/judging/live_path.py)."""
    places, by_score = places_of(question.items), listing.by_score(how.wish.n)._replace(item_rules=how.item_rules)
    every: dict[str, Contestant] = {live_path.POPULARITY: popularity(question, places, how)}
    says = F.coalesce(*(F.col(name) for name in redis_keys.PLACES if name in events.columns), F.lit(None))
    are_placed = not events.where(says.isNotNull()).isEmpty()
    for name, each in contest.models.items():
        strength = each.about.strength
        every[name] = recommenders.LiveModel(each.live, strength, places, how.item_rules)
        if are_placed or each.live is not each.recommender:
            every[live_path.own(name)] = recommenders.NightModel(each.recommender, strength, places, by_score)
    if contest.champion:
        served = contest.champion
        every[CHAMPION] = recommenders.LiveModel(served.live, served.about.strength, places, how.item_rules)
    history = max(each.about.parameters["history"] for each in contest.models.values())
    asked = Asked(places, frozenset(question.users), every, how.wish.n)
    shared = events.sparkSession.sparkContext.broadcast(asked)
    rows = events.mapInPandas(lambda batches: lived(batches, shared.value, history), live_path.schema(every)).toPandas()
    models = list(contest.models)
    others, names = [name for name in every if name not in models], np.array(question.users, object)
    choose = [] if choosing is None else names[choosing].tolist()
    return live_path.summary(rows.sort_values("user_id"), models, others, choose)


def lived(batches: Batches, asked: Asked, history: int) -> Iterator[pd.DataFrame]:
    for rows in whole_users(batches):
        chosen = rows[rows["user_id"].isin(asked.users)]
        if len(chosen):
            names, events = chosen["user_id"].unique().tolist(), model_folder.events(chosen, asked.places)
            held = chosen["held"].to_numpy(bool)
            known = np.bincount(events.users[~held], minlength=len(names)).astype(np.int64)
            questions = live_path.questions(events, held, history)
            if len(questions.wanted):
                yield live_path.answered(questions, asked.contestants, names, known, asked.k)


def lossy(live: dict[str, Any], most: float) -> set[str]:
    """Returns the models of which the stream loses more than readers should: they are chosen if there is no other."""
    return {name for name, each in live["choice"].items() if each["loss"] > most}


def filled(lists: dict[str, Lists]) -> dict[str, Any]:
    """Returns the lists as columns, as readers get them."""
    columns: dict[str, Any] = {}
    for name, each in lists.items():
        columns |= {name: list(each.filled(lists["popularity"])), f"knows_{name}": each.known}
    return columns


def categories(events: DataFrame, items: list[str]) -> Similarity | None:
    """Returns the similarity by category: an item's is the one that most of its events name. None if no event does."""
    named = events.where(F.col("category").isNotNull() & (F.col("action") != "search"))
    by_item = named.groupBy("item_id").agg(F.mode("category", True).alias("category")).toPandas()
    if by_item.empty:
        return None
    codes = pd.Series(pd.factorize(by_item["category"], sort=True)[0], by_item["item_id"])
    return ranking.same(codes.reindex(items, fill_value=-1).to_numpy(np.int64))


def champion(served: Opened, comparable: bool) -> dict[str, Any]:
    return {"version": served.folder.name, "kind": served.about.kind, "comparable": comparable}


def share(items: Sequence[str], question: Question) -> float:
    """Returns the share of the items with users in the training events that a model knows."""
    wanted = question.item_users > 0
    return float(np.mean(np.isin(np.array(question.items, object)[wanted], np.array(items, object))))


def checks(tonight: Night) -> dict[str, Any]:
    """Returns the newer of the two verdicts that the step `check` may leave."""
    done, refused = tonight.folder / "check", tonight.folder / "check-refused"
    passed = done.is_dir() and not (refused.is_dir() and refused.stat().st_mtime > done.stat().st_mtime)
    return {"passed": passed, "report": f"../{(done if passed else refused).name}/report.html"}


def shown(model: Opened, held_from_ms: int) -> str:
    """Returns the digest of what a model learnt from; why there is none, for one that also learnt from devices."""
    lineage = model.about.lineage
    devices = lineage.get("federated")
    if devices and devices.get("until_ms", held_from_ms) >= held_from_ms:
        return "unknown: devices learnt as late as the held-out events"
    return str(lineage.get("digest"))


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
