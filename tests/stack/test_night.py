"""A whole night by Airflow on a real stack: what readers see after it, after a rerun, and after a refusal.

Shoppers want items of their own colour, half of the shop, and buy a few of them each day. So the right lists are known.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.infra import paths
from headrace.infra.extensions import label
from headrace.infra.launch import batch
from headrace.infra.versions import store
from headrace.schemas import redis_keys
from tests.stack.running import HEADRACE, Failed, Stack
from tests.streams.clicks import Record

STEPS = ("land", "check", "als", "evaluate", "gate", "register", "index", "precompute", "verify", "publish")
THERE = set(STEPS) <= set(batch.NAMES) and paths.python("batch").exists() and paths.python("airflow").exists()
pytestmark = [
    pytest.mark.stack,
    pytest.mark.shop,
    pytest.mark.skipif(not THERE, reason="needs every job of the night, and `make batch airflow`"),
]
FIRST_MS, DAY_MS = 1_769_299_200_000, 86_400_000  # 2026-01-25
RETRY = {"AIRFLOW__RETRY_DELAY_S": "1"}
NIGHT, LATER = "2026-01-31", "2026-02-01"
USERS, ITEMS, A_DAY = 60, 60, 3
OWN = "turns:FAMILY"  # a family in a file of the shop's project, which knows this shop best


def shopping(days: range) -> Iterator[Record]:
    for day in days:
        for user in range(USERS):
            for n in range(A_DAY):
                item = 2 * ((7 * user + day * A_DAY + n) % (ITEMS // 2)) + user % 2
                click: dict[str, Any] = {
                    "event_id": f"{day}-{user}-{n}",
                    "user_id": f"u{user}",
                    "item_id": f"i{item:03}",
                }
                click |= {"action": "purchase", "ts_ms": FIRST_MS + day * DAY_MS + n * 60_000, "price": 9.5}
                yield Record(f"u{user}".encode(), json.dumps(click).encode())


@pytest.fixture
def shop(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Makes a shop with lists by score alone: items of one colour are alike, and diversity would add the other."""
    rules = tmp_path / "rules.toml"
    rules.write_text(changed("rules.toml", {"lambda": 1.0, "max_similarity": 1.0}))
    project = tmp_path / "project"
    project.mkdir()
    (project / "headrace.toml").touch()
    shutil.copy(paths.PACKAGE / "tests" / "streams" / "colours.py", project / "turns.py")
    monkeypatch.setenv("HEADRACE_PROJECT", str(project))
    settings = {"MODELS": json.dumps(["als", OWN]), "ALS__FACTORS": "8", "RULES": str(rules)}
    for name, value in ({f"NIGHT__{name}": value for name, value in settings.items()} | RETRY).items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    stack = replace(stack, job_name="collaborative")
    for written in ("nights", "lake", "mlflow", "indexes", "lists"):
        shutil.rmtree(stack.home / written, ignore_errors=True)
    return stack


def changed(name: str, values: dict[str, float]) -> str:
    """Returns a file of infra/config/ with other values."""
    text = (paths.CONFIG / name).read_text()
    for key, value in values.items():
        text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found
    return text


def current(stack: Stack) -> str:
    shown: Any = stack.settings.redis.client().get(redis_keys.model_current())
    return str(json.loads(shown)["version"])


def written(stack: Stack) -> dict[str, int]:
    """Returns when each result was written, but for verify's, which reads Redis again each time."""
    steps = [step for step in (stack.home / "nights" / NIGHT).iterdir() if step.is_dir() and step.name != "verify"]
    return {str(path): path.stat().st_mtime_ns for step in steps for path in step.rglob("*")}


def champion(stack: Stack) -> str:
    """Returns the champion by MLflow's own command, in the batch environment."""
    asked = (
        "import mlflow; c = mlflow.MlflowClient(); (m,) = c.search_registered_models();"
        " print(c.get_model_version_by_alias(m.name, 'champion').tags)"
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{stack.home}/mlflow/mlflow.db"}
    command = [str(paths.python("batch")), "-c", asked]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_night_changes_what_readers_see_and_a_refused_one_does_not(
    shop: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send(shopping(range(7)))
    shop.run("retrain", "--date", NIGHT, timeout_s=600)
    served = current(shop)
    assert (pointer := store.current()) is not None
    assert pointer.version == served
    assert served in champion(shop)
    assert served.startswith(label(OWN))
    assert (shop.home / "nights" / NIGHT / "evaluate" / "report.html").is_file()
    listed: Any = shop.settings.redis.client().get(redis_keys.recs(served, "u1"))
    items = [each["item"] for each in json.loads(listed)["items"]]
    assert items
    assert all(int(item[1:]) % 2 == 1 for item in items[:5])  # u1's colour
    shop.submit()
    shop.send(shopping(range(7, 8)))
    shop.settle()
    live: Any = shop.settings.redis.client().get(redis_keys.live(served, "u1"))
    last = 2 * ((7 + 7 * A_DAY + A_DAY - 1) % (ITEMS // 2)) + 1
    first, second = json.loads(live)["items"][:2]
    assert [first["item"], second["item"]] == [f"i{(last + 2 * n) % ITEMS:03}" for n in (1, 2)]
    assert first["reason"] == f"i{last:03}"

    before = written(shop)
    shop.run("retrain", "--date", NIGHT, timeout_s=600)
    assert (written(shop), current(shop)) == (before, served)

    strict = tmp_path / "gates.toml"
    strict.write_text(changed("gates.toml", {"diversity": 2.0}))
    monkeypatch.setenv("HEADRACE_NIGHT__GATES_FILE", str(strict))
    with pytest.raises(Failed):
        shop.run("retrain", "--date", LATER, timeout_s=600)
    assert current(shop) == served
    assert not (shop.home / "nights" / LATER / "gate").exists()


@pytest.mark.soak
def test_of_two_publications_at_once_one_wins_whole(shop: Stack) -> None:
    shop.send(shopping(range(8)))
    for night in (NIGHT, LATER):
        shop.run("retrain", "--date", night, timeout_s=600)
    versions = [each.version for each in store.versions()][-2:]
    for _ in range(5):
        both = [subprocess.Popen([HEADRACE, "publish", version], stdout=subprocess.DEVNULL) for version in versions]
        assert [process.wait(120) for process in both] == [0, 0]
        assert (pointer := store.current()) is not None
        assert {pointer.version, pointer.previous} == set(versions)
        assert current(shop) == pointer.version
