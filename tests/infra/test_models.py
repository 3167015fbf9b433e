"""Versions on disk: whole or absent, never changed, checked at each load; the pointer moves in one step."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import models, projection
from infra.models import Contents, Follower, Manifest, ModelError
from schemas import redis_keys

HOUR_MS = 3_600_000


def contents(seed: int = 1, items: int = 5, factors: int = 3) -> Contents:
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(items, factors)).astype(np.float32)
    return Contents(
        made, np.eye(factors) * seed, [f"item-{n}é" for n in range(items)], [("item-0é", 7), ("item-1é", 2)]
    )


def keep(version: str, created_ms: int = 0, kept: Contents | None = None) -> Manifest:
    described: dict[str, Any] = {"kind": "als", "users": 9, "parameters": {"reg": 0.1}, "metrics": {"recall": 0.25}}
    described |= {"lineage": {"offsets": {"clicks": {"0": 17}}}, "commit": "abc"}
    return models.write(kept or contents(), version=version, created_ms=created_ms, **described)


def test_what_was_written_is_loaded() -> None:
    written = keep("v1", 5)
    manifest, loaded = models.load("v1")
    assert manifest == written
    assert manifest.dims == {"items": 5, "factors": 3, "users": 9}
    assert set(manifest.sha256) == {"item_factors.npy", "user_gram.npy", "items.json", "popular.json"}
    np.testing.assert_array_equal(loaded.item_factors, contents().item_factors)
    np.testing.assert_array_equal(loaded.user_gram, contents().user_gram)
    assert (loaded.items, loaded.popular) == (contents().items, contents().popular)
    assert sorted(path.name for path in models.root().iterdir()) == [".lock", "v1"]


def test_a_version_never_changes() -> None:
    keep("v1")
    with pytest.raises(ModelError, match="version v1 exists already"):
        keep("v1", kept=contents(2))
    np.testing.assert_array_equal(models.load("v1").contents.item_factors, contents().item_factors)
    assert sorted(path.name for path in models.root().iterdir()) == [".lock", "v1"]


def test_old_versions_go_but_not_those_that_serve() -> None:
    for n in range(6):
        keep(f"v{n}", n)
    models.publish("v0", 1)
    models.publish("v1", 2)
    assert models.prune(2) == ["v2", "v3"]
    assert [each.version for each in models.versions()] == ["v0", "v1", "v4", "v5"]
    assert models.rollback(3).version == "v0"
    assert models.prune(2) == []


@pytest.mark.parametrize("version", ["", "../v", ".v", "a/b", "v 1", "v:1", "x" * 65])
def test_a_name_is_safe_as_a_path_and_as_a_part_of_a_key(version: str) -> None:
    with pytest.raises(ModelError, match="version must match"):
        keep(version)


@pytest.mark.parametrize("file", ["item_factors.npy", "user_gram.npy", "items.json", "popular.json"])
def test_a_changed_file_is_refused_by_name(file: str) -> None:
    keep("v1")
    path = models.root() / "v1" / file
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ModelError, match=rf"v1/{file}: sha256 must be \w{{64}}, got \w{{64}}"):
        models.load("v1")
    with pytest.raises(ModelError, match=file):
        models.publish("v1", 1)
    assert models.current() is None


def test_files_of_another_version_are_refused() -> None:
    keep("v1")
    keep("v2", kept=contents(2))
    (models.root() / "v2" / "items.json").replace(models.root() / "v1" / "items.json")
    (models.root() / "v2" / "manifest.json").replace(models.root() / "v1" / "manifest.json")
    with pytest.raises(ModelError, match="must be the manifest of v1, got that of v2"):
        models.load("v1")


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
def test_contents_that_do_not_fit_are_not_written(wrong: Contents, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        keep("v1", kept=wrong)
    assert models.versions() == []


def test_a_writer_that_dies_leaves_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("infra.durable.write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        keep("v1")
    assert [path.name for path in models.root().iterdir() if path.name != ".lock"] == []


def test_a_draft_is_no_version() -> None:
    keep("v1")
    (models.root() / "v1").rename(models.root() / ".draft-x")
    assert models.versions() == []
    with pytest.raises(ModelError, match="no version 'v1'"):
        models.load("v1")


def test_versions_are_listed_by_age() -> None:
    for version, created_ms in (("b", 1), ("a", 3), ("c", 2)):
        keep(version, created_ms)
    assert [each.version for each in models.versions()] == ["b", "c", "a"]


def test_publish_and_roll_back() -> None:
    for version in ("v1", "v2"):
        keep(version)
    assert models.current() is None
    models.publish("v1", 10)
    models.publish("v2", 20)
    assert models.publish("v2", 30) == models.current() == models.Pointer("v2", "v1", 20)
    assert models.rollback(40) == models.current() == models.Pointer("v1", "v2", 40)
    assert models.rollback(50) == models.Pointer("v2", "v1", 50)


def test_nothing_to_roll_back_to() -> None:
    with pytest.raises(ModelError, match="nothing to roll back to"):
        models.rollback(1)
    keep("v1")
    models.publish("v1", 1)
    with pytest.raises(ModelError, match="nothing to roll back to"):
        models.rollback(2)


def test_a_damaged_version_is_not_rolled_back_to() -> None:
    for version in ("v1", "v2"):
        keep(version)
        models.publish(version, 1)
    (models.root() / "v1" / "popular.json").write_text("[]")
    with pytest.raises(ModelError, match=r"v1/popular\.json: sha256"):
        models.rollback(2)
    assert models.current() == models.Pointer("v2", "v1", 1)


def test_an_unknown_version_is_not_published() -> None:
    with pytest.raises(ModelError, match=r"no version 'nope' in .*`headrace models` lists them"):
        models.publish("nope", 1)
    with pytest.raises(ModelError, match=r"no version '\.\./x'"):
        models.load("../x")


def test_a_damaged_pointer_says_where() -> None:
    keep("v1")
    (models.root() / "current.json").write_text("{}")
    with pytest.raises(ModelError, match=r"current\.json: .*version"):
        models.current()


def test_a_follower_loads_only_when_the_pointer_moves() -> None:
    follower = Follower()
    assert follower.model() is None
    for version, seed in (("v1", 1), ("v2", 2)):
        keep(version, kept=contents(seed))
    models.publish("v1", 1)
    first = follower.model()
    assert first is not None
    assert first.manifest.version == "v1"
    assert follower.model() is first
    models.publish("v2", 2)
    second = follower.model()
    assert second is not None
    assert second.manifest.version == "v2"
    models.rollback(3)
    back = follower.model()
    assert back is not None
    assert back.manifest.version == "v1"
    np.testing.assert_array_equal(first.contents.item_factors, back.contents.item_factors)


def test_a_follower_does_not_read_a_pointer_that_did_not_move() -> None:
    keep("v1")
    models.publish("v1", 1)
    follower, path = Follower(), models.root() / "current.json"
    held, before = follower.model(), path.stat()
    path.write_text("not to be read")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert follower.model() is held


def test_a_follower_keeps_what_it_has_when_the_new_version_does_not_load() -> None:
    follower = Follower()
    for version in ("v1", "v2"):
        keep(version)
    models.publish("v1", 1)
    held = follower.model()
    models.publish("v2", 2)
    os.truncate(models.root() / "v2" / "item_factors.npy", 10)
    for _ in range(2):
        with pytest.raises(ModelError, match="sha256"):
            follower.model()
    assert follower.held is held


class Kept(dict[str, bytes]):
    """The one command of Redis that a projection uses."""

    def set(self, key: str, value: bytes) -> None:
        self[key] = value


def test_the_projection() -> None:
    manifest, redis = keep("v1", 5), Kept()
    pointer = models.publish("v1", HOUR_MS)
    projection.show(redis, models.load("v1"), pointer)  # type: ignore[arg-type]
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


def test_a_name_says_when_and_what() -> None:
    name = models.name("als", 1_767_225_599_000, contents())
    assert name.startswith("als-20251231T235959-")
    assert models.NAME.fullmatch(name)
    assert name != models.name("als", 1_767_225_599_000, contents(2))
