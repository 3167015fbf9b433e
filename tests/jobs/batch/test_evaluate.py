"""Evaluation in Spark on a checkerboard, where every figure can be worked out by hand."""

import json
import math
import shutil
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.versions import store
from headrace.infra.versions.model_files import Trained
from headrace.infra.versions.rules import ItemRules
from headrace.jobs.batch import evaluate, precompute
from headrace.jobs.batch.evaluate import Contest
from headrace.jobs.batch.families import federated
from headrace.jobs.batch.judging import question, report, user_batches
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.precompute import ListPlan
from headrace.jobs.batch.publishing import listing
from headrace.jobs.batch.publishing.listing import Listing
from headrace.jobs.batch.training import model_folder, split
from headrace.udfs.factors.diversity import DiversityRule
from headrace.udfs.recommenders.nightly_lists import ListWish
from tests.jobs.batch import checkerboard

pytestmark = pytest.mark.spark
K = 4
BY_SCORE = listing.by_score(K)


@pytest.fixture(scope="module")
def events(spark: Any) -> Any:
    """Returns each user's ten items, the newest three of them held out."""
    return split.held(spark.createDataFrame(checkerboard.rows(), checkerboard.EVENTS), "last:0.3").persist()


@pytest.fixture(scope="module")
def found(events: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_HOME", str(home))
        checkerboard.write_model(home / "als", split.digest(events.where("not held")))
        checkerboard.write_model(home / "half", split.digest(events), checkerboard.ITEMS[: checkerboard.EACH])
        checkerboard.publish("by-hand", file="some.csv")
        models = {name: evaluate.opened(home / name) for name in ("half", "als")}
        champion = evaluate.opened(store.load("by-hand").folder)
        return evaluate.build(events, Contest(models, champion), BY_SCORE, 1000)


def test_the_right_answer_is_found(found: dict[str, Any]) -> None:
    """The three items of the colour that are left, then one of the other colour."""
    als = found["models"]["als"]
    assert {name: als[name]["value"] for name in ("precision", "recall", "ndcg", "map", "mrr", "hit_rate")} == {
        "precision": 0.75, "recall": 1, "ndcg": pytest.approx(1), "map": 1, "mrr": 1, "hit_rate": 1,
    }  # fmt: skip
    assert found["bounds"] == {"precision": 0.75, "recall": 1, "coverage": 1}
    assert als["coverage"]["value"] == 1
    assert als["category_diversity"]["value"] == pytest.approx(0.5)  # three of six pairs are of two colours
    assert found["chosen"] == "als"
    assert found["data"]["users_trained"] == checkerboard.USERS
    judges = found["data"]["users"]
    assert 10 < judges == checkerboard.USERS - found["data"]["users_choosing"] < 30  # the others choose
    assert found["data"]["segments"] == {"new": 0, "light": judges, "heavy": 0}


def test_others_are_what_they_are(found: dict[str, Any]) -> None:
    others = found["baselines"]
    assert "popularity_overlap" not in others["popularity"]  # it knows nobody
    first = found["models"]["als"]["against"]["popularity"]["ndcg"]
    assert first["value"] == pytest.approx(1 - others["popularity"]["ndcg"]["value"])
    assert 0 < first["low"] < first["value"] < first["high"]
    assert found["champion"] == {"version": "by-hand", "kind": "als", "comparable": False}


def test_the_champion_is_folded_in_with_its_own_factors(found: dict[str, Any], events: Any) -> None:
    """It likes all items alike, so its list is the first unseen ones by id."""
    rows = events.toPandas()
    gained, users = [], sorted(set(rows["user_id"]))
    choosing = dict(zip(users, question.choosers(users), strict=True))  # type: ignore[arg-type]
    for user, own in rows[rows["action"] != "search"].groupby("user_id"):
        if choosing[user]:
            continue
        seen, wanted = set(own[~own["held"]]["item_id"]), set(own[own["held"]]["item_id"])
        listed = [item for item in checkerboard.ITEMS if item not in seen][:K]
        best = sum(1 / math.log2(place + 2) for place in range(3))
        gained.append(sum(1 / math.log2(place + 2) for place, item in enumerate(listed) if item in wanted) / best)
    assert found["baselines"]["champion"]["ndcg"]["value"] == pytest.approx(sum(gained) / len(gained))


def test_what_the_gate_needs_stands_there(found: dict[str, Any], events: Any) -> None:
    """Half the items are missing in one model, which was trained on what is held out, too."""
    good, bad = found["digests"]["als"], found["digests"]["half"]
    assert good["trained"] == good["expected"] == bad["expected"] == split.digest(events.where("not held"))
    assert bad["trained"] != bad["expected"]
    assert found["catalogue"] == {"als": 1.0, "half": 0.5}
    assert found["files"]["als"].keys() >= {"items.json", "item_factors.npy", "model.json"}
    assert found["models"]["als"]["hits"] == 3 * found["data"]["users"]


def test_the_live_path_is_asked_event_by_event(found: dict[str, Any]) -> None:
    """Each of the three held-out purchases: the items of the colour that are left fill the first places."""
    live = found["live"]
    judges = found["data"]["users"]
    assert (live["users"], live["new_users"], live["questions"]) == (judges, 0, 3 * judges)  # the others choose
    als = live["models"]["als"]
    assert als["hit_rate"]["value"] == 1
    assert als["loss"] == 0  # it is its own scorer
    assert als["ndcg"]["value"] > live["others"]["champion"]["ndcg"]["value"]
    assert als["against"]["popularity"]["low"] > 0


def test_what_is_judged_is_what_precompute_writes(events: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all rules at work: a blocked item, a cap, and diversity. Lists by score alone have another figure."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    rng, folder = np.random.default_rng(5), tmp_path / "als"
    checkerboard.write_model(folder, "", item_factors=rng.normal(size=(20, 2)).astype(np.float32))
    blocked, colours = "i04", {item: ("black", "white")[int(item[1:]) % 2] for item in checkerboard.ITEMS}
    wish = ListWish(K, 12, DiversityRule(0.5, 0.9))
    how = Listing(wish, ItemRules(frozenset({blocked})), colours, {"black": 2})
    model = evaluate.build(events, Contest({"als": evaluate.opened(folder)}), how, 1000)["models"]["als"]
    rows = events.toPandas().sort_values(["user_id", "t_ms", "offset"], ignore_index=True)
    before = rows[~rows["held"]].reset_index(drop=True)
    plan = ListPlan(tmp_path, folder, None, "v", 1, (blocked,), how, 1)
    lists = precompute.user_lists(before[list(model_folder.COLUMNS)], plan)
    wanted = rows[rows["held"]].groupby("user_id")["item_id"].agg(set)
    gained, best = [], sum(1 / math.log2(place + 2) for place in range(3))
    for user, items in wanted.items():
        listed = [entry["item"] for entry in json.loads(lists[str(user)])["items"]]
        assert blocked not in listed
        assert sum(colours[item] == "black" for item in listed) <= 2
        gained.append(sum(1 / math.log2(place + 2) for place, item in enumerate(listed) if item in items) / best)
    assert model["ndcg"]["value"] == pytest.approx(np.mean(gained), abs=1e-9)
    assert abs(model["raw"]["ndcg"]["value"] - model["ndcg"]["value"]) > 0.01


def test_whose_items_count(spark: Any, tmp_path: Path) -> None:
    """A user of 600 items counts with all of them; one without training events does not."""
    rows = [("many", f"m{n}", f"x{n:03}", "view", n, None, None, n) for n in range(600)]
    rows += [("many", "m-held", "i00", "view", 10_000, None, None, 601)]
    rows += [("new", "n-held", "x000", "view", 10_001, None, None, 602)]
    frame = spark.createDataFrame(rows, checkerboard.EVENTS).coalesce(1).withColumn("held", F.col("t_ms") >= 10_000)
    asked = question.ask(frame, set(checkerboard.ITEMS), 1000)
    assert asked.users == ["many", "new"]
    assert asked.users_trained == 1
    assert int((asked.item_users > 0).sum()) == 600


def test_the_page_is_whole(found: dict[str, Any]) -> None:
    night: dict[str, Any] = {"date": "2026-01-31", "protocol": "last:0.3", "seconds": 1.0}
    night |= {"absent": [], "checks": {"passed": True, "report": "../check/report.html"}}
    page = report.page(found | night)
    words, tags = parsed(page)
    assert {"Night 2026-01-31: ALS is chosen", "passed", "champion", "NDCG", "While they act"} <= words
    assert tags.count("svg") == 4
    assert "http" not in page.replace("http://www.w3.org", "")  # self-contained


def test_the_page_names_a_model_that_failed(found: dict[str, Any], tmp_path: Path) -> None:
    checkerboard.write_model(tmp_path / "als", "")
    contest = Contest({"als": evaluate.opened(tmp_path / "als")})
    absent = evaluate.absent(["als", "two_tower", "federated"], contest)
    assert absent == ["two_tower", "federated"]
    night = {"date": "2026-01-31", "protocol": "last:0.3", "seconds": 1.0, "absent": absent}
    words, _ = parsed(report.page(found | night | {"checks": {"passed": True, "report": "../check/report.html"}}))
    assert "Not judged, for want of a sound result: two-tower, federated + ALS." in words


def parsed(page: str) -> tuple[set[str], list[str]]:
    words, tags = set[str](), list[str]()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.append(tag)

        def handle_data(self, data: str) -> None:
            words.add(data.strip())

    Reader().feed(page)
    return words, tags


def test_a_protocol_that_holds_nothing_out_is_no_evaluation(events: Any, tmp_path: Path) -> None:
    checkerboard.write_model(tmp_path / "als", "")
    with pytest.raises(HeadraceError, match="must hold out an item that a user had not seen before, found none"):
        evaluate.build(events.where("not held"), Contest({"als": evaluate.opened(tmp_path / "als")}), BY_SCORE, 1000)


def test_users_stay_whole_wherever_arrow_cuts() -> None:
    rows = pd.DataFrame({"user_id": list("aabbbcdddd"), "n": range(10)})
    for size in range(1, 11):
        batches = [rows[at : at + size] for at in range(0, 10, size)]
        got = list(user_batches.whole_users(iter(batches)))
        assert pd.concat(got)["n"].tolist() == list(range(10))
        users = [set(part["user_id"]) for part in got]
        assert sum(map(len, users)) == 4


def test_a_sample_is_the_same_from_night_to_night() -> None:
    users = pd.DataFrame({"user_id": [f"u{n}" for n in range(100)]})
    few = set(question.sampled(users, 10)["user_id"])
    assert few == set(question.sampled(users[::-1], 10)["user_id"])
    assert few < set(question.sampled(users, 30)["user_id"])


def test_a_model_that_is_not_sound_takes_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    night = Night(date(2026, 1, 31))
    with pytest.raises(HeadraceError, match="has no model in"):
        evaluate.contestants(night, "days:1")
    checkerboard.write_model(night.folder / "als", "", item_factors=np.full((20, 2), np.nan, np.float32))
    with pytest.raises(Refusal, match="no model of the night is sound"):
        evaluate.contestants(night, "days:1")
    checkerboard.write_model(night.folder / "two_tower", "")
    checkerboard.write_model(night.folder / "federated", "")
    checkerboard.write_model(night.folder / ".als-draft", "")
    checkerboard.write_model(night.folder / "another", "")
    described = json.loads((night.folder / "another" / "model.json").read_text())
    del described["parameters"]["history"]
    (night.folder / "another" / "model.json").write_text(json.dumps(described))
    checkerboard.write_model(night.folder / "stray", "")
    (night.folder / "stray" / "model.json").write_text(json.dumps(described | {"kind": "of a friend"}))
    capsys.readouterr()
    assert evaluate.contestants(night, "days:1").models.keys() == {"federated", "two_tower"}
    said = capsys.readouterr().out
    assert "another of 2026-01-31 is left out: its parameters must have history" in said
    checkerboard.publish("champion")
    assert evaluate.contestants(night, "days:1").champion is not None
    shutil.rmtree(store.load("champion").folder)
    assert evaluate.contestants(night, "days:1").champion is None
    assert "the champion champion is left out: no version 'champion'" in capsys.readouterr().out
    assert "kind must name a family (docs/families.md) or module:NAME, got 'of a friend'" in said


def test_the_global_model_fused_with_the_nights_als_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    night, items = Night(date(2026, 1, 31)), checkerboard.ITEMS
    checkerboard.write_model(night.folder / "als", "1f")
    learnt = federated.Global(1, checkerboard.factors(items) + 0.1, 50, 1e-4, until_ms=5_000)
    with night.writing("federated") as folder:
        made = federated.write(folder, night.folder / "als", learnt, items, "items")
        about = Trained(kind="federated", dims=dict(made.dims), parameters=made.parameters, lineage={})
        about.lineage.update(made.lineage)
        model_folder.write(folder, made.items, [], about)
    models = evaluate.contestants(night, "days:1").models
    assert models.keys() == {"als", "federated"}
    assert models["federated"].recommender.items == items
    assert evaluate.shown(models["federated"], 5_001) == "1f"
    assert evaluate.shown(models["federated"], 5_000) == "unknown: devices learnt as late as the held-out events"
