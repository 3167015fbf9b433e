"""The global model, fused with a night's ALS, with the files that the gate reads."""

import json
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from headrace.infra import federated_files
from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.families import federated
from headrace.jobs.batch.night import Night
from headrace.schemas.topics import AGGREGATES, GLOBAL_MODEL, ROUNDS
from headrace.udfs.federated import rounds
from headrace.udfs.recommenders.contract import TrainingData, TrainingOutcome

ITEMS, FACTORS = 40, 4
RNG = np.random.default_rng(8)
TRUTH = RNG.standard_normal((ITEMS, FACTORS))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    als = tmp_path / "nights" / "2026-01-31" / "als"
    als.mkdir(parents=True)
    names = [f"i{n:02d}" for n in range(ITEMS)]
    (als / "items.json").write_text(json.dumps([*names, "zz-new"]))
    np.save(als / "item_factors.npy", np.vstack([TRUTH + 0.1, np.ones((1, FACTORS))]).astype(np.float32))
    np.save(als / "user_gram.npy", np.eye(FACTORS))
    (als / "popular.json").write_text("[]")
    (als / "model.json").write_text(
        json.dumps({"kind": "als", "dims": {"users": 100, "factors": FACTORS}, "parameters": {}, "lineage": {}})
    )
    federated_files.public().mkdir(parents=True)
    (federated_files.public() / "items.json").write_text(json.dumps(names[::-1]))
    return tmp_path


def records(version: int, rule: str = "fedavg") -> dict[str, list[dict[str, Any]]]:
    """Returns records as the topics would hold them, for a model whose rows are the items in reverse order."""
    model = (TRUTH - 0.1)[::-1].astype(np.float32).ravel()
    layers = json.dumps([["item_factors", "float32", [ITEMS, FACTORS]]])
    parts = zip(rounds.split(model, "<f4"), rounds.split(np.zeros((2, len(model))), "<f8"), strict=True)
    common = {"model": "items", "version": version, "parts": rounds.parts(len(model)), "layers": layers}
    aggregate = {"model": "items", "status": "opened", "round": 1, "nodes": 50}
    return {
        GLOBAL_MODEL: [common | {"part": n, "parameters": p, "moments": m} for n, (p, m) in enumerate(parts)],
        AGGREGATES: [aggregate, aggregate | {"status": "refused", "round": 2}],
        ROUNDS: [{"round": 1, "rule": rule, "node_sigma": 10, "scale": 100.0, "deadline_ms": 7}],
    }


NIGHT = Night(date(2026, 1, 31))


def run(monkeypatch: pytest.MonkeyPatch, told: dict[str, list[dict[str, Any]]]) -> TrainingOutcome:
    monkeypatch.setattr(federated, "_records", lambda _, name: told[name])
    with NIGHT.writing("federated") as draft:
        return federated.train(cast(TrainingData, None), federated.Fusion(), draft, None)


def test_it_is_a_trained_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(monkeypatch, records(3))
    folder, lineage = NIGHT.result("federated"), outcome.lineage["federated"]
    assert {path.name for path in folder.iterdir()} == {"item_factors.npy", "user_gram.npy"}
    assert outcome.items == json.loads((home / "nights" / "2026-01-31" / "als" / "items.json").read_text())
    assert outcome.dims == {"users": 100, "factors": FACTORS}
    assert (lineage["version"], lineage["nodes"], lineage["until_ms"]) == (3, 50, 7)
    assert lineage["noise"] == pytest.approx(10**2 / (50 * 100.0**2))
    assert 0 < lineage["weight"] < 1
    fused = np.load(folder / "item_factors.npy")
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused[-1], np.ones(FACTORS))  # the nodes do not know it
    assert np.abs(fused[:-1] - TRUTH).max() < 0.1


def test_a_model_without_a_round_is_no_candidate(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HeadraceError, match="global model 'items' must have a version after a round"):
        run(monkeypatch, records(0))
    assert not (home / "nights" / "2026-01-31" / "federated").exists()
