"""Versions on disk: whole or absent, never changed, checked at each load; the pointer moves in one step."""

import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.infra import durable
from headrace.infra.errors import Refusal
from headrace.infra.versions import factor_version, model_files, redis_view, store
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Manifest, ModelError, NightVersion, VersionFollower
from headrace.schemas import redis_keys

HOUR_MS = 3_600_000


def contents(seed: int = 1, items: int = 5, factors: int = 3) -> FactorContents:
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(items, factors)).astype(np.float32)
    return FactorContents(
        made, np.eye(factors) * seed, [f"item-{n}é" for n in range(items)], [("item-0é", 7), ("item-1é", 2)]
    )


def keep(version: str, created_ms: int = 0, kept: FactorContents | None = None, night: str = "") -> Manifest:
    described: dict[str, Any] = {"kind": "als", "users": 9, "parameters": {"reg": 0.1}}
    lineage = {"offsets": {"clicks": {"0": 17}}, "commit": "abc"} | ({"date": night} if night else {})
    return factor_version.write(kept or contents(), created_ms, {"recall": 0.25}, version, lineage=lineage, **described)


def factors(version: str) -> Any:
    return np.load(store.load(version).folder / model_files.FACTORS)


def test_what_was_written_is_loaded() -> None:
    written = keep("v1", 5)
    manifest, loaded, folder = store.load("v1")
    assert (manifest, manifest.commit) == (written, "abc")
    assert manifest.dims == {"items": 5, "factors": 3, "users": 9}
    assert set(manifest.sha256) == {"item_factors.npy", "user_gram.npy", "items.json", "popular.json", "model.json"}
    np.testing.assert_array_equal(factors("v1"), contents().item_factors)
    np.testing.assert_array_equal(np.load(folder / model_files.GRAM), contents().user_gram)
    assert (loaded.items, loaded.popular) == (contents().items, contents().popular)
    assert sorted(path.name for path in store.root().iterdir()) == [".lock", "v1"]


def test_a_version_never_changes() -> None:
    keep("v1")
    with pytest.raises(ModelError, match="version v1 exists already"):
        keep("v1", kept=contents(2))
    assert keep("v1") == store.manifest("v1")  # the same files again
    np.testing.assert_array_equal(factors("v1"), contents().item_factors)
    assert sorted(path.name for path in store.root().iterdir()) == [".lock", "v1"]


def test_old_versions_go_but_not_those_that_serve() -> None:
    for n in range(6):
        keep(f"v{n}", n)
    store.publish("v0", 1)
    store.publish("v1", 2)
    assert store.prune(2) == ["v2", "v3"]
    assert [each.version for each in store.versions()] == ["v0", "v1", "v4", "v5"]
    assert store.rollback(3).version == "v0"
    assert store.prune(2) == []


@pytest.mark.parametrize("version", ["", "../v", ".v", "a/b", "v 1", "v:1", "x" * 65])
def test_a_name_is_safe_as_a_path_and_as_a_part_of_a_key(version: str) -> None:
    with pytest.raises(ModelError, match="version must match"):
        keep(version)


@pytest.mark.parametrize("file", ["item_factors.npy", "user_gram.npy", "items.json", "popular.json"])
def test_a_changed_file_is_refused_by_name(file: str) -> None:
    keep("v1")
    path = store.root() / "v1" / file
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ModelError, match=rf"v1/{file}: sha256 must be \w{{64}}, got \w{{64}}"):
        store.load("v1")
    with pytest.raises(ModelError, match=file):
        store.publish("v1", 1)
    assert store.current() is None


def test_files_of_another_version_are_refused() -> None:
    keep("v1")
    keep("v2", kept=contents(2))
    (store.root() / "v2" / "items.json").replace(store.root() / "v1" / "items.json")
    (store.root() / "v2" / "manifest.json").replace(store.root() / "v1" / "manifest.json")
    with pytest.raises(ModelError, match="must be the manifest of v1, got that of v2"):
        store.load("v1")


WRONG = {
    "another item map": (contents()._replace(items=["a", "b"]), "a row for each of the 2 items of items.json, got 5"),
    "repeated item": (contents()._replace(items=["a"] * 5), "must name each item once"),
    "float64": (
        contents()._replace(item_factors=np.ones((5, 3))),  # type: ignore[arg-type]
        "must be finite float32 .items, f., got float64",
    ),
    "NaN": (contents()._replace(item_factors=np.full((5, 3), np.nan, np.float32)), "must be finite"),
    "gram": (contents()._replace(user_gram=np.eye(2)), r"user_gram.npy must be \(3, 3\), got \(2, 2\)"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG.keys())
def test_contents_that_do_not_fit_are_not_written(wrong: FactorContents, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        keep("v1", kept=wrong)
    assert store.versions() == []


def test_a_writer_that_dies_leaves_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    write = durable.write

    def full_disk(path: Path, content: bytes) -> None:
        if path.parent.parent == store.root():
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr("headrace.infra.durable.write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        keep("v1")
    assert [path.name for path in store.root().iterdir() if path.name != ".lock"] == []


def test_a_draft_is_no_version() -> None:
    keep("v1")
    (store.root() / "v1").rename(store.root() / ".draft-x")
    assert store.versions() == []
    with pytest.raises(ModelError, match="no version 'v1'"):
        store.load("v1")


def test_versions_are_listed_by_age() -> None:
    for version, created_ms in (("b", 1), ("a", 3), ("c", 2)):
        keep(version, created_ms)
    assert [each.version for each in store.versions()] == ["b", "c", "a"]


def test_publish_and_roll_back() -> None:
    for version in ("v1", "v2"):
        keep(version)
    assert store.current() is None
    store.publish("v1", 10)
    store.publish("v2", 20)
    assert store.publish("v2", 30) == store.current() == store.Pointer("v2", "v1", 20)
    assert store.rollback(40) == store.current() == store.Pointer("v1", "v2", 40)
    assert store.rollback(50) == store.Pointer("v2", "v1", 50)


FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (9, 10, 11))


def test_a_night_follows_an_older_one_alone() -> None:
    """An equal date is a version made anew; a person's choice does not change which night is the newest."""
    for version, night in (("v1", FIRST), ("v2", SECOND), ("v2b", SECOND), ("v3", THIRD), ("by hand", None)):
        keep(version.replace(" ", "-"), night=night.isoformat() if night else "")
    assert store.publish_night("v2", SECOND, 1).version == "v2"
    with pytest.raises(Refusal, match="v1 of the night 2026-01-09: v2 of the night 2026-01-10 has served"):
        store.publish_night("v1", FIRST, 2)
    assert store.publish_night("v2b", SECOND, 3) == store.current()
    for by_hand in ("by-hand", "v1", ""):
        before = store.publish(by_hand, 4) if by_hand else store.rollback(6)
        with pytest.raises(Refusal):
            store.publish_night("v1", FIRST, 7, again=True)
        assert store.publish_night("v2b", SECOND, 8) == store.current() == before
    assert store.publish_night("v3", THIRD, 9) == store.Pointer("v3", "by-hand", 9, NightVersion("2026-01-11", "v3"))


def test_a_night_publishes_once_unless_it_is_asked_again() -> None:
    for version, night in (("v1", FIRST), ("v2", SECOND)):
        keep(version, night=night.isoformat())
        store.publish_night(version, night, 1)
    store.rollback(2)
    store.publish("v2", 3)
    store.rollback(4)
    assert store.publish_night("v2", SECOND, 5) == store.Pointer("v1", "v2", 4, NightVersion("2026-01-10", "v2"))
    assert store.publish_night("v2", SECOND, 6, again=True).version == "v2"


def test_a_person_may_take_another_version_of_the_same_night() -> None:
    """The night's step died after it moved the pointer, and is tried again."""
    for version in ("v2", "v2b"):
        keep(version, night=SECOND.isoformat())
        store.publish_night(version, SECOND, 1)
    chosen = store.publish("v2", 2)
    assert chosen.version == "v2"
    assert store.publish_night("v2b", SECOND, 3) == store.current() == chosen


def test_the_version_of_a_night_counts_whoever_published_it() -> None:
    for version, night in (("v1", FIRST), ("v3", THIRD)):
        keep(version, night=night.isoformat())
        store.publish(version, 1)
    store.publish("v1", 2)
    keep("v2", night=SECOND.isoformat())
    with pytest.raises(Refusal, match="v3 of the night 2026-01-11 has served"):
        store.publish_night("v2", SECOND, 3)


@pytest.mark.parametrize(("version", "previous"), [("v2", "v1"), ("v1", "v2"), ("v2", None)])
def test_a_pointer_of_an_older_release_knows_its_nights(version: str, previous: str | None) -> None:
    """By the two versions that it names. One whose files are gone says nothing."""
    for name, night in (("v1", FIRST), ("v2", SECOND), ("v3", THIRD)):
        keep(name, night=night.isoformat())
    pointer = {"version": version, "previous": previous, "published_ms": 1}
    (store.root() / "current.json").write_text(json.dumps(pointer))
    with pytest.raises(Refusal, match="v2 of the night 2026-01-10 has served"):
        store.publish_night("v1", FIRST, 2)
    shutil.rmtree(store.root() / "v2")
    assert store.publish_night("v3", THIRD, 3).version == "v3"


def test_nothing_to_roll_back_to() -> None:
    with pytest.raises(ModelError, match="nothing to roll back to"):
        store.rollback(1)
    keep("v1")
    store.publish("v1", 1)
    with pytest.raises(ModelError, match="nothing to roll back to"):
        store.rollback(2)


def test_a_damaged_version_is_not_rolled_back_to() -> None:
    for version in ("v1", "v2"):
        keep(version)
        store.publish(version, 1)
    (store.root() / "v1" / "popular.json").write_text("[]")
    with pytest.raises(ModelError, match=r"v1/popular\.json: sha256"):
        store.rollback(2)
    assert store.current() == store.Pointer("v2", "v1", 1)


def test_an_unknown_version_is_not_published() -> None:
    with pytest.raises(ModelError, match=r"no version 'nope' in .*`headrace models` lists them"):
        store.publish("nope", 1)
    with pytest.raises(ModelError, match=r"no version '\.\./x'"):
        store.load("../x")


def test_a_damaged_pointer_says_where() -> None:
    keep("v1")
    (store.root() / "current.json").write_text("{}")
    with pytest.raises(ModelError, match=r"current\.json: .*version"):
        store.current()


def test_a_follower_loads_only_when_the_pointer_moves() -> None:
    follower = VersionFollower()
    assert follower.model() is None
    for version, seed in (("v1", 1), ("v2", 2)):
        keep(version, kept=contents(seed))
    store.publish("v1", 1)
    first = follower.model()
    assert first is not None
    assert first.manifest.version == "v1"
    assert follower.model() is first
    store.publish("v2", 2)
    second = follower.model()
    assert second is not None
    assert second.manifest.version == "v2"
    store.rollback(3)
    back = follower.model()
    assert back is not None
    assert back.manifest.version == "v1"
    assert (first.folder, first.contents) == (back.folder, back.contents)


def test_a_follower_does_not_read_a_pointer_that_did_not_move() -> None:
    keep("v1")
    store.publish("v1", 1)
    follower, path = VersionFollower(), store.root() / "current.json"
    held, before = follower.model(), path.stat()
    path.write_text("not to be read")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert follower.model() is held


def test_a_follower_keeps_what_it_has_when_the_new_version_does_not_load() -> None:
    follower = VersionFollower()
    for version in ("v1", "v2"):
        keep(version)
    store.publish("v1", 1)
    held = follower.model()
    store.publish("v2", 2)
    os.truncate(store.root() / "v2" / "item_factors.npy", 10)
    for _ in range(2):
        with pytest.raises(ModelError, match="sha256"):
            follower.model()
    assert follower.held is held


class Kept(dict[str, bytes]):
    """A Redis with the one command that a publication uses."""

    def set(self, key: str, value: bytes) -> None:
        self[key] = value


def test_the_projection() -> None:
    manifest, redis = keep("v1", 5), Kept()
    pointer = store.publish("v1", HOUR_MS)
    redis_view.show(redis, store.load("v1"), pointer, ItemRules())  # type: ignore[arg-type]
    assert list(redis) == [redis_keys.popular("v1"), redis_keys.model_current()]
    assert json.loads(redis[redis_keys.model_current()]) == {
        "version": "v1",
        "dims": {"items": 5, "factors": 3, "users": 9},
        "hashes": manifest.sha256,
        "offsets": {"clicks": {"0": 17}},
        "published_ms": HOUR_MS,
    }
    assert json.loads(redis[redis_keys.popular("v1")]) == {
        "version": "v1",
        "as_of_ms": 5,
        "items": [
            {"item": "item-0é", "score": 7.0, "reason": "popular"},
            {"item": "item-1é", "score": 2.0, "reason": "popular"},
        ],
    }
    blocked = ItemRules(frozenset({"item-0é", "unknown"}))
    redis_view.show(redis, store.load("v1"), pointer, blocked)  # type: ignore[arg-type]
    assert [each["item"] for each in json.loads(redis[redis_keys.popular("v1")])["items"]] == ["item-1é"]


def test_a_name_says_when_and_what() -> None:
    name = store.name("als", 1_767_225_599_000, {"a.npy": "1"})
    assert name.startswith("als-20251231T235959-")
    assert store.NAME.fullmatch(name)
    assert name != store.name("als", 1_767_225_599_000, {"a.npy": "2"})
    own = store.name("shop.mine:FAMILY", 1_767_225_599_000, {})
    assert own.startswith("shop.mine.FAMILY-20251231T235959-")
    assert store.NAME.fullmatch(own)
