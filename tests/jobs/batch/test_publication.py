"""From a verdict to the lists that readers get: each step, also killed, repeated, raced, rolled back and restored."""

import json
import os
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import msgspec
import numpy as np
import pandas as pd
import pytest
from redis import Redis
from redis.exceptions import RedisError

from headrace.infra import paths
from headrace.infra.cli import models as cli_models
from headrace.infra.errors import HeadraceError, Refusal, describe
from headrace.infra.operate.restore import restore_serving
from headrace.infra.settings import load
from headrace.infra.versions import list_files, model_files, publication, redis_view, store
from headrace.infra.versions.store import Manifest
from headrace.jobs.batch import index, precompute, publish, register, upkeep, verify
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import registry, trained_runs
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS
from headrace.udfs.factors.confidence import Events
from headrace.udfs.recommenders import contract
from tests.edge.conftest import redis, redis_port  # noqa: F401  # fixtures
from tests.infra.versions.test_store import keep
from tests.jobs.batch import lakes, nights

pytestmark = pytest.mark.spark
STEPS: dict[str, Callable[[Namespace], None]] = {
    "register": register.main, "index": index.main, "precompute": precompute.main, "verify": verify.main,
    "publish": publish.main,
}  # fmt: skip
MADE = ("register", "index", "precompute", "verify")
TONIGHT = Night(nights.DATE)


class Died(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="module")
def registered_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes an MLflow database, once, since making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with lakes.home(folder):
        registry.follow(registry.client(load().night))
    return folder / "mlflow"


@pytest.fixture(scope="module")
def landed_once(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    with lakes.home(folder):
        lakes.append(spark, CLICKS, nights.clicks())
    return folder / "lake"


@pytest.fixture(autouse=True)
def home(
    tmp_path: Path,
    spark: Any,
    landed_once: Path,
    registered_once: Path,
    redis_port: int,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Makes a home with a lake, a trained model, a passed gate, and a Redis of its own."""
    monkeypatch.setenv("HEADRACE_REDIS__PORT", str(redis_port))
    monkeypatch.setattr(list_files, "TRIES", 2)
    rules = tmp_path / "rules.toml"
    shutil.copy(paths.CONFIG / "rules.toml", rules)
    monkeypatch.setenv("HEADRACE_NIGHT__RULES", str(rules))
    monkeypatch.setenv("HEADRACE_NIGHT__LAKE", str(landed_once))
    monkeypatch.setenv("HEADRACE_NIGHT__REGISTRY", f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    shutil.copytree(registered_once, tmp_path / "mlflow")
    with lakes.home(tmp_path):
        night(0)
        yield tmp_path


def night(day: int, seed: int = 1) -> Night:
    made = Night(nights.DATE + timedelta(days=day))
    nights.trained(made, seed=seed)
    nights.judged(made)
    return made


def run(*steps: str, of: Night = TONIGHT, again: bool = False) -> str:
    for step in steps or STEPS:
        STEPS[step](Namespace(date=of.date, again=again))
    return register.version(of)


def rule(home: Path, old: str, new: str) -> None:
    text = (home / "rules.toml").read_text()
    assert text.count(old) == 1
    (home / "rules.toml").write_text(text.replace(old, new))


def shown(redis: Redis, version: str = "") -> dict[str, bytes]:  # noqa: F811
    """Returns everything in Redis that names the version."""
    keys: Any = sorted(redis.scan_iter())
    return {key.decode(): redis.get(key) for key in keys if version in key.decode()}  # type: ignore[misc]


def items(value: bytes | None) -> list[str]:
    return [entry["item"] for entry in json.loads(value or b'{"items": []}')["items"]]


def serving(redis: Redis) -> str | None:  # noqa: F811
    value: Any = redis.get(redis_keys.model_current())
    return json.loads(value)["version"] if value else None


def aliases() -> dict[str, str]:
    known = registry.client(load().night)
    found = known.get_registered_model(registry.NAME).aliases
    return {name: known.get_model_version(registry.NAME, n).tags[registry.VERSION] for name, n in found.items()}


def test_a_night_ends_in_lists_that_readers_find(
    redis: Redis,  # noqa: F811
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By score alone, so that the checkerboard's law holds: first what the user lacks of their own colour."""
    rule(home, "lambda = 0.9", "lambda = 1.0")
    version = run()
    assert serving(redis) == version
    assert aliases() == {"champion": version}
    for user in range(nights.SIDE):
        value: Any = redis.get(redis_keys.recs(version, f"u{user:02}"))
        listed = json.loads(value)
        own = nights.unseen(user)
        assert set(items(value)[: len(own)]) == own, user
        assert listed["version"] == version
        assert {int(e["reason"][1:]) % 2 for e in listed["items"] if e["item"] in own} == {user % 2}
    for item in range(nights.SIDE):
        alike: Any = redis.get(redis_keys.similar(version, f"i{item:02}"))
        assert {int(each[1:]) % 2 for each in items(alike)[:8]} == {item % 2}
    counts = {"NL": 0, "BE": 1}
    for place, parity in counts.items():
        value = redis.get(redis_keys.popular_by(version, "location", place))
        wanted: dict[str, int] = {}
        for click in nights.clicks():
            if click["location"] == place:
                wanted[click["item_id"]] = wanted.get(click["item_id"], 0) + 1
        assert items(value) == sorted(wanted, key=lambda each: (-wanted[each], each))
        assert {int(each[1:]) % 2 for each in items(value)} == {parity}
    assert redis.exists(redis_keys.trending_by(version, "category", "red")) == 1
    assert redis.ttl(redis_keys.recs(version, "u00")) == -1
    before = shown(redis)
    capsys.readouterr()
    run()
    assert capsys.readouterr().out.count("is done") == 4
    assert shown(redis) == before


def test_what_the_rules_leave_out_is_in_no_list(redis: Redis, home: Path) -> None:  # noqa: F811
    (home / "stocked.txt").write_text("\n".join(f"i{item:02}" for item in range(4, nights.SIDE)))
    rule(home, "items = []", 'items = ["i07", "unknown"]')
    rule(home, '[stock]\nfile = ""', '[stock]\nfile = "stocked.txt"')
    rule(home, "at_most = 0", "at_most = 5")
    rule(home, "[category.limits]", "[category.limits]\nblue = 1")
    version = run()
    absent = {"i00", "i01", "i02", "i03", "i07"}
    assert set(store.load(version).contents.left_out) == absent
    for key, value in shown(redis, version).items():
        assert not absent & set(items(value)), key
        if key.startswith(redis_keys.recs(version, "")):
            colours = [int(item[1:]) % 3 for item in items(value)]
            assert [colours.count(n) <= most for n, most in ((0, 5), (1, 5), (2, 1))] == [True] * 3


def held(redis: Redis, version: str = "") -> dict[str, list[str]]:  # noqa: F811
    """Returns the items of each list."""
    found = shown(redis, version)
    return {key: items(value) for key, value in found.items() if key != redis_keys.model_current()}


def test_a_change_of_the_rules_reaches_lists_that_were_made_before(redis: Redis, home: Path) -> None:  # noqa: F811
    """By a rollback, a restore, a publication; by the next one an item that may be listed again is back."""
    version = run()
    keep("another", 1)
    cli_models.publish("another")
    whole = held(redis)
    assert sum("i08" in some for some in whole.values()) > 10
    rule(home, "items = []", 'items = ["i08", "in no list"]')
    together, live = redis_keys.also_viewed("i09"), redis_keys.live(version, "u00")
    for key in (together, live):
        redis.set(key, lists_of("", ["i08", "i05"]), ex=3600)
    cli_models.rollback()
    after = held(redis)
    assert (after.pop(together), after.pop(live)) == (["i05"], ["i05"])
    assert 3000 < redis.ttl(live) <= 3600  # type: ignore[operator]
    assert after == {key: [item for item in some if item != "i08"] for key, some in whole.items()}
    run("verify")
    redis.flushall()
    assert restore_serving(load())
    assert [key for key, some in held(redis).items() if "i08" in some] == []
    rule(home, 'items = ["i08", "in no list"]', "items = []")
    cli_models.publish(version)
    assert held(redis, version) == {key: some for key, some in whole.items() if version in key}
    (home / "stock.csv").write_text("sku,qty\ni01,3\n")  # of another shop
    rule(home, '[stock]\nfile = ""', '[stock]\nfile = "stock.csv"')
    for step in ("publish", "register"):
        with pytest.raises(
            HeadraceError, match=r"stock\.file must name items of the version, such as 'i00'; found 2 other"
        ):
            run(step, again=True)
    assert held(redis, version) == {key: some for key, some in whole.items() if version in key}
    (home / "stock.csv").write_text("item_id,qty\ni01,3\n")
    run("publish", "verify", again=True)
    assert {item for some in held(redis, version).values() for item in some} == {"i01"}


def test_verify_sees_what_is_wrong(redis: Redis, home: Path) -> None:  # noqa: F811
    version = run()
    key = redis_keys.recs(version, "u00")
    popular = redis_keys.popular(version)
    wrong = {
        key: (lists_of("v0", ["i20"]), f"{key} must be of {version}, got 'v0'"),
        redis_keys.recs(version, "u03"): (lists_of(version, ["i03"]), "holds 'i03', which the user has seen"),
        popular: (None, f"{popular} is missing"),
        redis_keys.recs(version, "u06"): (b"[]", "u06 must hold a list: Expected `object`, got `array`"),
        redis_keys.model_current(): (b'{"version": "v0"}', f"must name {version}, got v0"),
    }
    for changed, (value, said) in wrong.items():
        before: Any = redis.get(changed)
        redis.delete(changed) if value is None else redis.set(changed, value)
        with pytest.raises(HeadraceError) as caught:
            run("verify")
        assert said in str(caught.value)
        redis.set(changed, before)
    rule(home, "items = []", 'items = ["i20"]')
    with pytest.raises(HeadraceError, match=r"holds 'i20', left out by rules\.toml"):
        run("verify")


def lists_of(version: str, names: list[str]) -> bytes:
    items = [{"item": name, "score": 1} for name in names]
    return json.dumps({"version": version, "as_of_ms": 1, "items": items}).encode()


def test_killed_and_resumed_equals_undisturbed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    version = run("register", "index", "precompute")
    whole, files = shown(redis), {path.name: path.read_bytes() for path in list_files.files(version)}
    assert len(files) >= 6
    redis.flushall()
    shutil.rmtree(list_files.folder(version))
    shutil.rmtree(TONIGHT.folder / "precompute")
    monkeypatch.setattr(precompute, "write_similar", died)
    with pytest.raises(Died):
        run("precompute")
    kept = sorted(path.name for path in list_files.files(version))
    (list_files.folder(version) / kept[0]).unlink()  # as if killed before it was written
    assert list_files.manifest(version) is None
    assert redis.dbsize() == 0
    untouched = (list_files.folder(version) / kept[1]).stat().st_mtime_ns
    monkeypatch.setattr(precompute, "write_similar", WRITE_SIMILAR)
    run("precompute")
    assert {path.name: path.read_bytes() for path in list_files.files(version)} == files
    assert (list_files.folder(version) / kept[1]).stat().st_mtime_ns == untouched
    assert shown(redis) == whole


WRITE_SIMILAR = precompute.write_similar


def died(*_: Any, **__: Any) -> None:
    raise Died


def test_killed_at_each_step_readers_are_on_the_old_version_whole(
    redis: Redis, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    old = run()
    before = shown(redis)
    tomorrow = night(1, seed=2)
    deaths: list[tuple[Any, str, str]] = [
        (store, "write", "register"), (registry, "_register", "register"), (index, "build", "index"),
        (precompute, "write_recs", "precompute"), (list_files, "finish", "precompute"),
        (list_files, "load", "precompute"), (verify, "of_users", "verify"), (store, "publish_night", "publish"),
    ]  # fmt: skip
    for module, function, step in deaths:
        with monkeypatch.context() as patch:
            patch.setattr(module, function, died)
            with pytest.raises(Died):
                run(step, of=tomorrow)
        assert not (tomorrow.folder / step).exists()
        assert serving(redis) == old
        assert {key: value for key, value in shown(redis).items() if key in before} == before
        if function in ("_register", "build", "load", "of_users"):  # the last death of this step
            run(step, of=tomorrow)
    with (
        monkeypatch.context() as patch
    ):  # the pointer has moved, Redis not yet: readers keep the old, and a rerun ends it
        patch.setattr(publication, "project", died)
        with pytest.raises(Died):
            run("publish", of=tomorrow)
    assert serving(redis) == old
    new = run("publish", "verify", of=tomorrow)
    assert serving(redis) == new != old
    assert aliases() == {"champion": new, "previous": old}


def test_a_refused_night_registers_nothing(redis: Redis) -> None:  # noqa: F811
    nights.judged(TONIGHT, passed=False)
    with pytest.raises(HeadraceError, match="the gate must have passed, got passed = False"):
        run("register")
    shutil.rmtree(TONIGHT.folder / "gate")
    with pytest.raises(HeadraceError, match="has no gate in"):
        run("register")
    assert (store.versions(), redis.dbsize()) == ([], 0)


def test_a_model_that_changed_after_the_verdict_is_not_registered(redis: Redis) -> None:  # noqa: F811
    """All its files count: those that were added or lost, too."""
    folder = TONIGHT.folder / "als"
    nights.trained(TONIGHT, seed=2)
    with pytest.raises(HeadraceError, match=r"item_factors.npy must be as the gate passed it, got another file"):
        run("register")
    nights.judged(TONIGHT)
    (folder / "more.npy").write_bytes(b"")
    with pytest.raises(HeadraceError, match=r"more.npy must be as the gate passed it"):
        run("register")
    (folder / "more.npy").unlink()
    (folder / model_files.GRAM).unlink()
    with pytest.raises(HeadraceError, match=r"user_gram.npy must be as the gate passed it, got another file or none"):
        run("register")
    assert (store.versions(), redis.dbsize()) == ([], 0)


def test_without_redis_nothing_moves_and_a_rerun_goes_on(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    version = run("register", "index")
    for step in ("precompute", "verify", "publish"):
        with monkeypatch.context() as patch:
            patch.setenv("HEADRACE_REDIS__PORT", "1")
            with pytest.raises(RedisError) as caught:
                run(step)
        assert "`headrace up` starts it" in describe(caught.value)
        assert store.current() is None
        made = {path: path.stat().st_mtime_ns for path in list_files.files(version)}
        run(step)
        assert made == {path: path.stat().st_mtime_ns for path in list_files.files(version)}
    assert serving(redis) == version


def test_of_two_at_once_the_newer_night_wins_whole(redis: Redis) -> None:  # noqa: F811
    """The older one has published before it, or is refused."""
    older, newer = TONIGHT, night(1, seed=2)
    versions = [run(*MADE, of=each) for each in (older, newer)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(run, "publish", of=each) for each in (older, newer)]
    assert done[1].exception() is None
    refused = done[0].exception()
    assert refused is None or isinstance(refused, Refusal)
    previous = None if refused else versions[0]
    pointer = store.current()
    assert pointer is not None
    assert (pointer.version, pointer.previous) == (versions[1], previous)
    assert serving(redis) == pointer.version
    assert aliases() == {"champion": versions[1]} | ({} if refused else {"previous": versions[0]})


def test_an_older_night_follows_a_newer_one_by_hand_alone(redis: Redis) -> None:  # noqa: F811
    old = run(*MADE)
    tomorrow = night(1, seed=2)
    new = run(of=tomorrow)
    for again in (False, True):
        with pytest.raises(Refusal, match=rf"{new} of the night 2026-02-01 has served.*`headrace publish {old}`"):
            run("publish", again=again)
    assert (serving(redis), aliases()) == (new, {"champion": new})
    cli_models.publish(old)
    run("publish", of=tomorrow)
    run("verify", of=tomorrow)
    assert (serving(redis), aliases()) == (old, {"champion": old, "previous": new})


def test_a_rollback_stands_when_the_step_is_tried_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    old, tomorrow = run(), night(1, seed=2)
    new = run(*MADE, of=tomorrow)
    with monkeypatch.context() as patch:
        patch.setattr(publish, "follow", died)
        with pytest.raises(Died):
            run("publish", of=tomorrow)
    assert serving(redis) == new
    cli_models.rollback()
    for _ in range(2):
        run("publish", of=tomorrow)
        assert (serving(redis), aliases()) == (old, {"champion": old, "previous": new})
    assert f"{new} has served; {old}, which was published after it, stays" in capsys.readouterr().out
    run("publish", of=tomorrow, again=True)
    assert serving(redis) == new


def test_without_mlflow_the_version_serves_and_the_aliases_follow_later(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    version = run(*MADE)
    with monkeypatch.context() as patch:
        patch.setenv("HEADRACE_NIGHT__REGISTRY", "sqlite:////proc/no/mlflow.db")
        run("publish")
    assert "MLflow's aliases did not follow" in capsys.readouterr().out
    assert (serving(redis), aliases()) == (version, {})
    run("publish")
    assert "is done" in capsys.readouterr().out
    upkeep.main(Namespace(aliases=True))
    assert aliases() == {"champion": version}


def test_a_version_with_a_wrong_list_never_serves(redis: Redis, home: Path) -> None:  # noqa: F811
    """Whether `verify` saw it, or found all well before another try saw it, or has not looked."""
    old, tomorrow = run(), night(1, seed=2)
    version = run("register", "index", "precompute", of=tomorrow)
    with pytest.raises(HeadraceError, match="its lists must be right: `headrace run verify --date 2026-02-01`"):
        run("publish", of=tomorrow)
    run("verify", of=tomorrow)
    key = redis_keys.similar(version, "i03")
    redis.set(key, lists_of(old, ["i01"]))
    with pytest.raises(Refusal, match=f"{key} must be of {version}, got '{old}'"):
        run("verify", of=tomorrow)
    with pytest.raises(HeadraceError, match="its lists must be right"):
        run("publish", of=tomorrow)
    run("precompute", "verify", of=tomorrow, again=True)
    popular = [item for item, _ in store.load(version).contents.popular]
    rule(home, "items = []", f"items = {json.dumps(popular)}")
    with pytest.raises(Refusal, match=f"{redis_keys.popular(version)} must hold different items, got"):
        run("publish", of=tomorrow)
    assert (serving(redis), aliases()) == (old, {"champion": old})


def test_lists_that_redis_lost_since_they_were_verified_are_sent_again(redis: Redis) -> None:  # noqa: F811
    version = run(*MADE)
    before = shown(redis, version)
    redis.flushall()
    run("publish")
    assert serving(redis) == version
    assert before.items() <= shown(redis, version).items()


def test_a_redis_that_names_another_version_after_all_is_told(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    version = run(*MADE)
    with monkeypatch.context() as patch:
        patch.setattr(redis_view, "show", lambda *_: redis.set(redis_keys.model_current(), b'{"version": "v0"}'))
        with pytest.raises(HeadraceError, match=f"{redis_keys.model_current()} must name {version}, got v0"):
            run("publish")
    run("publish")
    assert serving(redis) == version


def test_a_version_made_anew_is_published_without_again(redis: Redis, home: Path) -> None:  # noqa: F811
    first = run()
    rule(home, "items = []", 'items = ["i08"]')
    second = run("register", again=True)
    assert run("index", "precompute", "verify", "publish") == second != first
    assert serving(redis) == second


def test_two_at_once_register_one_version(redis: Redis) -> None:  # noqa: F811
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, "register") for _ in range(2)]:
            done.result()
    assert [each.version for each in store.versions()] == [register.version(TONIGHT)]


def test_rollback_after_refused_nights_restore_and_upkeep(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, home: Path  # noqa: F811
) -> None:  # fmt: skip
    old, new = run(), run(of=night(1, seed=2))
    for day in (2, 3):  # refused: they leave no verdict
        with pytest.raises(HeadraceError, match="has no gate"):
            run("register", of=Night(nights.DATE + timedelta(days=day)))
    whole = shown(redis)
    cli_models.rollback()
    assert serving(redis) == old
    assert aliases() == {"champion": old, "previous": new}
    assert {key: value for key, value in shown(redis).items() if key != redis_keys.model_current()} == {
        key: value for key, value in whole.items() if key != redis_keys.model_current()
    }
    cli_models.rollback()
    redis.flushall()
    assert restore_serving(load())
    back = shown(redis)
    assert {key: back[key] for key in whole if old not in key and "model" not in key} == {
        key: whole[key] for key in whole if old not in key and "model" not in key
    }
    assert {key for key in whole if key.startswith(redis_keys.recs(old, ""))} <= back.keys()
    monkeypatch.setenv("HEADRACE_NIGHT__VERSIONS_KEPT", "1")
    newest = run(of=night(4, seed=3))
    redis.set("someone:else", b"stays")
    draft = Path(tempfile.mkdtemp(prefix=".als-", dir=TONIGHT.folder))
    os.utime(draft, (0, 0))
    upkeep.main(Namespace(aliases=False))
    assert not draft.exists()
    assert (shown(redis, old), list_files.manifest(old)) == ({}, None)
    assert {each.version for each in store.versions()} == {new, newest}
    assert shown(redis, new).keys() == {key for key in whole if new in key}
    assert not publication.index(old).exists()
    known = registry.client(load().night).search_model_versions(f"name = '{registry.NAME}'")
    assert {each.tags[registry.VERSION] for each in known} == {new, newest}
    assert redis.exists("someone:else") == 1


def test_an_index_of_another_model_is_refused(redis: Redis) -> None:  # noqa: F811
    mine = run("register", "index")
    other = run("register", "index", of=night(1, seed=2))
    shutil.copy(publication.index(mine) / index.BEST, publication.index(other) / index.BEST)
    with pytest.raises(HeadraceError, match=r"the index must be that of index\.faiss \w{64}, got that of \w{64}"):
        index.read(store.load(other))
    for file in (index.ALIKE, index.MANIFEST):
        shutil.copy(publication.index(mine) / file, publication.index(other) / file)
    with pytest.raises(HeadraceError, match=r"must be that of item_factors\.npy \w{64}, got that of \w{64}"):
        index.read(store.load(other))
    assert index.read(store.load(mine)).kind == index.FLAT


def test_mlflow_knows_how_a_version_came_about(redis: Redis) -> None:  # noqa: F811
    version = run("register")
    run("register", again=True)
    known = registry.client(load().night)
    (one,) = known.search_model_versions(f"name = '{registry.NAME}'")
    found = known.get_run(one.run_id)
    assert found.data.params["objective.alpha"] == "5.0"
    assert found.data.metrics == {"ndcg_at_10": 0.5, "seconds": 1.0}
    assert (found.data.tags["lineage.digest"], found.data.tags["lineage.commit"]) == ("1f", "abc")
    assert (found.data.tags["gate"], found.data.tags[registry.VERSION]) == ("passed", version)
    assert found.inputs.dataset_inputs[0].dataset.digest == "1f"
    artefacts = {each.path for each in known.list_artifacts(one.run_id)}
    assert artefacts == {"manifest.json", "model", "verdict.json", "report.json"}


def test_every_trained_model_has_a_run(redis: Redis) -> None:  # noqa: F811
    """Also one that was not chosen, and those of a night that the gate refused."""
    nights.trained(TONIGHT, kind="two_tower", seed=5)
    refused = Night(nights.DATE + timedelta(days=1))
    nights.trained(refused, seed=6)
    nights.judged(refused, passed=False)
    verdict = json.loads((refused.folder / "gate" / "verdict.json").read_text())
    verdict["rules"] = [{"rule": "floor.ndcg", "value": 0.5, "limit": 0.6, "passed": False}]
    (refused.folder / "gate").rename(refused.folder / "gate-refused")
    (refused.folder / "gate-refused" / "verdict.json").write_text(json.dumps(verdict))
    run("register")
    known = registry.client(load().night)
    assert {name: tags["gate"] for name, tags in runs(known).items()} == {
        "2026-01-31 als": "passed", "2026-01-31 two_tower": "not chosen", "2026-02-01 als": "refused"
    }  # fmt: skip
    assert runs(known)["2026-02-01 als"]["gate.floor.ndcg"] == "0.5"
    nights.judged(refused)
    shutil.rmtree(refused.folder / "gate-refused")
    registry.complete(known)
    assert {name: tags["gate"] for name, tags in runs(known).items()}["2026-02-01 als"] == "passed"
    assert len(runs(known)) == 3


def runs(known: Any) -> dict[str, dict[str, str]]:
    """Returns the tags of all runs, by name."""
    found = known.search_runs([known.get_experiment_by_name(registry.EXPERIMENT).experiment_id])
    assert len({each.info.run_name for each in found}) == len(found)
    return {each.info.run_name: each.data.tags for each in found}


def test_a_registered_version_loads(redis: Redis, home: Path) -> None:  # noqa: F811
    """Its lists are those that the users must get: items of their parity. A stranger gets the popular ones."""
    rule(home, "items = []", 'items = ["i03"]')
    version = run("register")
    mlflow.set_registry_uri(load().night.registry)
    mlflow.set_tracking_uri(load().night.registry)
    model = mlflow.pyfunc.load_model(f"models:/{registry.NAME}/1")
    views = [(f"u{user:02}", f"i{item:02}", "view", item) for user in (1, 0) for item in range(user, 12, 2)]
    events = pd.DataFrame([*views, ("u99", "nobody's", "view", 0)], columns=["user_id", "item_id", "action", "t_ms"])
    answer = model.predict(events, params={"k": 6}).set_index("user_id")
    assert sorted(answer["items"]["u00"]) == [f"i{item:02}" for item in range(12, 24, 2)]
    assert sorted(answer["items"]["u01"]) == [f"i{item:02}" for item in range(13, 24, 2)]
    assert list(answer["known"]) == [True, True, False]
    assert answer["items"]["u99"] == ["i00", "i01", "i02", "i04", "i05", "i06"]
    everything = model.predict(events, params={"k": 24})
    assert not everything["items"].explode().eq("i03").any()
    assert not list((home / "mlflow" / "artefacts").rglob("*.npy"))  # nothing of the version is copied
    assert model.metadata.signature.inputs.input_names() == ["user_id", "item_id", "action", "rating", "t_ms"]
    shutil.rmtree(store.root() / version)
    with pytest.raises(HeadraceError, match="must be the folder of a version, which is gone"):
        mlflow.pyfunc.load_model(f"models:/{registry.NAME}/1")


def test_a_run_of_a_shops_own_family_goes_by_the_name_in_the_report() -> None:
    described: dict[str, Any] = {
        "dims": {},
        "parameters": {},
        "metrics": {},
        "created_ms": 0,
        "commit": "",
        "sha256": {},
    }
    manifest = Manifest(version="v", kind="shop.mine:FAMILY", lineage={"date": "2026-01-31"}, **described)
    assert trained_runs.of_version(manifest, "key").model == "shop.mine.FAMILY"


def test_two_registers_at_once_make_one_model_version(redis: Redis, home: Path) -> None:  # noqa: F811
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _: run("register", again=True), range(2)))
    known = registry.client(load().night)
    assert len(known.search_model_versions(f"name = '{registry.NAME}'")) == 1
    assert len(runs(known)) == 1


def test_without_mlflow_a_version_is_registered_and_its_record_follows(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("HEADRACE_NIGHT__REGISTRY", "sqlite:////proc/no/mlflow.db")
        version = run("register")
    assert f"MLflow has no record of {version} yet" in capsys.readouterr().out
    assert json.loads((TONIGHT.folder / "register" / "version.json").read_text())["mlflow"] is None
    run("index", "precompute", "verify", "publish")
    assert aliases() == {"champion": version}


@pytest.mark.parametrize("kind", ["federated", "two_tower"])
def test_a_version_is_registered_as_what_it_is(redis: Redis, kind: str) -> None:  # noqa: F811
    shutil.rmtree(TONIGHT.folder)
    nights.trained(TONIGHT, kind=kind)
    nights.judged(TONIGHT, model=kind)
    manifest = store.load(run("register")).manifest
    assert (manifest.kind, manifest.version.startswith(f"{kind}-")) == (kind, True)


def test_users_of_the_devices_model_are_folded_in_as_with_als(redis: Redis) -> None:  # noqa: F811
    nights.trained(TONIGHT, kind="federated")
    theirs, ours = (roster.load(TONIGHT.result(kind)) for kind in ("federated", "als"))
    click = Events(*(np.array([value]) for value in (0, 3, 1, np.nan, 0)))
    past = contract.past(click, 1, nights.SIDE, 1e12, 5.0)
    listed = [each.lists(past, 5, np.arange(nights.SIDE)) for each in (theirs, ours)]
    assert listed[0].known.all()
    assert np.array_equal(listed[0].scores, listed[1].scores)


def test_a_version_is_of_its_verdict_and_its_rules(redis: Redis, home: Path) -> None:  # noqa: F811
    first = run("register")
    time.sleep(0.01)
    rule(home, "items = []", 'items = ["i05"]')
    second = run("register", again=True)
    assert first != second
    assert msgspec.json.decode((TONIGHT.folder / "register" / "version.json").read_bytes())["version"] == second
    one, other = (np.load(store.load(each).folder / model_files.FACTORS) for each in (first, second))
    assert np.array_equal(one, other)
