"""What MLflow is told of a trained model: parameters, data, metrics of the evaluation, and what the gate said."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.infra import durable, paths
from headrace.infra.extensions import label
from headrace.infra.versions import model_files
from headrace.infra.versions.model_files import Trained
from headrace.infra.versions.store import Manifest
from headrace.schemas import topics

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

TEXT_MAX = 5000  # characters of a parameter or tag
DIGEST_MAX = 36
DOCUMENTS = (
    "evaluate/report.json", "evaluate/report.html", "gate/verdict.json", "gate-refused/verdict.json",
    "check/report.html", "check-refused/report.html",
)  # fmt: skip


class TrainedRun:
    """A model of a night, or a version whose night is gone."""

    def __init__(self, name: str, key: str, about: Trained, night: Path, found: Mapping[str, float]) -> None:
        """name: such as 2026-01-31 als. key: sha256 of the description. night: its folder. found: metrics."""
        self.name, self.key, self.about, self.night, self.found = name, key, about, night, found
        self.model = name.rpartition(" ")[2]

    def documents(self) -> list[Path]:
        return [path for path in map(self.night.joinpath, DOCUMENTS) if path.is_file()]

    def state(self) -> str:
        """Returns a digest of what the night says of the model."""
        return hashlib.sha256(msgspec.json.encode([durable.sha256(path) for path in self.documents()])).hexdigest()

    def parameters(self) -> "list[Param]":
        from mlflow.entities import Param

        told = {"kind": self.about.kind, **self.about.dims, **self.about.parameters}
        return [Param(name, value) for name, value in _flat(told).items()]

    def metrics(self) -> "list[Metric]":
        from mlflow.entities import Metric

        report = _read(self.night / "evaluate" / "report.json")
        values = {"seconds": self.about.seconds} if self.about.seconds else {}
        values |= dict(self.found) | _values(report.get("models", {}).get(self.model, {}))
        live = report.get("live", {}).get("models", {}).get(self.model, {})
        values |= {f"live.{name}": value for name, value in _values(live).items()}
        now_ms = time.time_ns() // 1_000_000
        return [Metric(name.replace("@", "_at_"), value, now_ms, 0) for name, value in values.items()]

    def tags(self) -> "list[RunTag]":
        from mlflow.entities import RunTag

        told = _flat(self.about.lineage, "lineage.") | {"headrace.model": self.model} | self.verdict()
        return [RunTag(name, value) for name, value in told.items()]

    def verdict(self) -> dict[str, str]:
        """Returns what the gate said: passed, refused and by which rules, or that it was not asked about this model."""
        for word, step in (("passed", "gate"), ("refused", "gate-refused")):
            verdict = _read(self.night / step / "verdict.json")
            if verdict and verdict["model"] != self.model:
                return {"gate": "not chosen"}
            if verdict:
                broken = {rule["rule"]: rule["value"] for rule in verdict["rules"] if not rule["passed"]}
                return {"gate": word} | _flat(broken, "gate.")
        return {}

    def data(self) -> "DatasetInput":
        from mlflow.entities import Dataset, DatasetInput, InputTag

        lineage = self.about.lineage
        profile = {name: lineage.get(name) for name in ("date", "protocol", "events", "digest")}
        source = msgspec.json.encode({"offsets": lineage.get("offsets", {})}).decode()
        digest = str(lineage.get("digest", ""))[:DIGEST_MAX] or "unknown"
        clicks = Dataset(topics.CLICKS, digest, "lake", source, profile=msgspec.json.encode(profile).decode())
        return DatasetInput(clicks, [InputTag("mlflow.data.context", "training")])


def all_nights() -> Iterator[TrainedRun]:
    """Yields the models of all nights, oldest night first."""
    for path in sorted((paths.home() / "nights").glob(f"[!.]*/[!.]*/{model_files.MODEL}")):
        folder, night = path.parent, path.parent.parent
        name = f"{night.name} {folder.name}"
        yield TrainedRun(name, durable.sha256(path), model_files.description(folder), night, {})


def of_version(manifest: Manifest, key: str) -> TrainedRun:
    """Returns what a version says of itself, when its night is gone."""
    told = {name: getattr(manifest, name) for name in ("kind", "dims", "parameters", "lineage")}
    date = str(manifest.lineage["date"])
    name = f"{date} {label(manifest.kind)}"  # as the night's report names it
    return TrainedRun(name, key, Trained(**told), paths.home() / "nights" / date, manifest.metrics)


def _values(figures: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a report: those with an interval by their value."""
    numbers = {name: each.get("value") if isinstance(each, dict) else each for name, each in figures.items()}
    return {
        name: float(each) for name, each in numbers.items() if isinstance(each, int | float) and type(each) is not bool
    }


def _read(path: Path) -> dict[str, Any]:
    return dict(msgspec.json.decode(path.read_bytes())) if path.is_file() else {}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns {"a": {"b": 1}} as {"a.b": "1"}."""
    values: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = str(value)[:TEXT_MAX]
    return values
