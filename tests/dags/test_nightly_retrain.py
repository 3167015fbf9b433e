"""The night's DAG run by Airflow, its jobs replaced by small ones that obey (tests/dags/checkout.py)."""

import json
import sqlite3
from pathlib import Path

import psutil
import pytest

from tests.dags.checkout import MODELS, STEPS, Checkout, outcomes
from tests.webhook import webhook

pytestmark = pytest.mark.airflow
TASKS = (*STEPS[:4], "collect", *STEPS[4:], "announce")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.make(tmp_path_factory.mktemp("night"))


def test_a_night_runs_every_step_once_in_order_and_tells_who_follows_it(checkout: Checkout) -> None:
    done = checkout.retrain("--date", "2026-01-30")
    assert outcomes(done) == dict.fromkeys(TASKS, "success"), done.stdout + done.stderr
    begun = checkout.begun()
    assert sorted(begun) == sorted(STEPS)
    assert [step for step in begun if step not in MODELS] == [*STEPS[:2], *STEPS[4:]]
    assert set(begun[2:4]) == set(MODELS)
    with sqlite3.connect(checkout.home / "airflow" / "airflow.db") as database:
        (extra,) = database.execute("SELECT extra FROM asset_event").fetchone()
    assert '"version": "als-1"' in extra
    before = checkout.results("2026-01-30")
    assert checkout.retrain("--date", "2026-01-30").returncode == 0
    assert checkout.results("2026-01-30") == before


def test_what_is_killed_fails_or_hangs_is_tried_again_and_nothing_else_is(checkout: Checkout) -> None:
    """Its result equals that of the undisturbed night before."""
    checkout.order("check", "hang once")
    checkout.order("als", "die once")
    checkout.order("index", "fail once")
    done = checkout.retrain("--date", "2026-01-31", AIRFLOW__TIMEOUT_S=8)
    assert outcomes(done) == dict.fromkeys(TASKS, "success"), done.stdout + done.stderr
    begun = checkout.begun()
    assert {step for step in begun if begun.count(step) == 2} == {"check", "als", "index"}
    assert not psutil.pid_exists(int((checkout.home / "hanging").read_text()))
    undisturbed = {name: content for name, (content, _) in checkout.results("2026-01-30").items()}
    assert {name: content for name, (content, _) in checkout.results("2026-01-31").items()} == undisturbed


def test_a_refusing_gate_fails_the_run_at_once_and_tells_the_operator(checkout: Checkout) -> None:
    checkout.order("gate", "refuse once")
    with webhook() as (address, posted):
        done = checkout.retrain("--date", "2026-02-01", ALERTS__WEBHOOK=address)
    assert done.returncode == 3
    assert outcomes(done)["gate"] == "refused"
    assert "ndcg must be >= 0.1, got 0.05" in next(line for line in done.stdout.splitlines() if line[:4] == "gate")
    assert {outcomes(done)[step] for step in TASKS[7:]} == {"upstream_failed"}
    assert checkout.begun().count("gate") == 1
    assert not (checkout.home / "nights" / "2026-02-01" / "gate").exists()
    assert [json.loads(body)["text"] for body in posted] == [
        "nightly_retrain.gate failed: refused: ndcg must be >= 0.1, got 0.05"
    ]


def test_a_failed_check_stops_before_training(checkout: Checkout) -> None:
    checkout.order("check", "refuse once")
    done = checkout.retrain("--date", "2026-02-02")
    assert done.returncode == 3
    assert checkout.begun() == ["land", "check"]


def test_a_model_that_fails_costs_itself_alone_and_the_operator_hears_of_it(checkout: Checkout) -> None:
    checkout.order("als", "fail")
    with webhook() as (address, posted):
        done = checkout.retrain("--date", "2026-02-06", ALERTS__WEBHOOK=address, AIRFLOW__RETRIES=1)
    (checkout.home / "order-als").unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done) == dict.fromkeys(TASKS, "success") | {"als": "failed"}
    assert checkout.begun() == ["land", "check", *checkout.begun()[2:5], *STEPS[4:]]
    assert sorted(checkout.begun()[2:5]) == ["als", "als", "two_tower"]
    assert [json.loads(body)["text"][:29] for body in posted] == ["nightly_retrain.als failed: e"]


def test_without_any_model_the_night_fails(checkout: Checkout) -> None:
    for name in MODELS:
        checkout.order(name, "fail")
    with webhook() as (address, posted):
        done = checkout.retrain("--date", "2026-02-07", ALERTS__WEBHOOK=address, AIRFLOW__RETRIES=0)
    for name in MODELS:
        (checkout.home / f"order-{name}").unlink()
    assert done.returncode == 1
    assert outcomes(done)["collect"] == "refused"
    assert {outcomes(done)[step] for step in TASKS[5:]} == {"upstream_failed"}
    assert "no model was trained: als, two_tower failed or did not begin" in done.stdout
    assert {json.loads(body)["text"].split(":")[0] for body in posted} == {
        f"nightly_retrain.{name} failed" for name in MODELS
    }


def test_a_step_that_fails_at_every_try_fails_the_night_and_json_says_so(checkout: Checkout) -> None:
    checkout.order("check", "fail")
    done = checkout.retrain("--date", "2026-02-04", "--json", AIRFLOW__RETRIES=1)
    (checkout.home / "order-check").unlink()
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    data = json.loads(line)["data"]
    assert (data["date"], data["refused"]) == ("2026-02-04", False)
    assert [each["state"] for each in data["steps"] if each["step"] == "check"] == ["up_for_retry", "failed"]
    assert "[DAG TEST]" in Path(data["log"]).read_text()
    assert "[DAG TEST]" not in done.stderr


def test_a_step_by_itself_says_what_became_of_it(checkout: Checkout) -> None:
    done = checkout.headrace("run", "land", "--date", "2026-02-05")
    assert (done.returncode, done.stderr[:16]) == (0, "land: done after")
    checkout.order("check", "refuse once")
    refused = checkout.headrace("run", "check", "--date", "2026-02-05")
    assert refused.returncode == 3
    assert refused.stdout == "ndcg must be >= 0.1, got 0.05\n"
    assert refused.stderr.startswith("check: refused after")
    assert "--date D" in checkout.headrace("run", "check", "-h").stdout


def test_a_dry_run_of_one_model_trains_that_and_publishes_nothing(checkout: Checkout) -> None:
    done = checkout.retrain("--date", "2026-02-03", "--models", "als", "--dry-run")
    assert done.returncode == 0
    skipped = {"two_tower", *TASKS[7:]}
    assert {name for name, state in outcomes(done).items() if state == "skipped"} == skipped
    assert checkout.begun() == ["land", "check", "als", "evaluate", "gate"]


def test_a_model_that_is_not_trained_at_night_is_one_line(checkout: Checkout) -> None:
    done = checkout.retrain("--models", "als,word2vec")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--models must be of night.models" in done.stderr
