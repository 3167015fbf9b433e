"""The model that passed the gate -> a version.

source     the night's gate/verdict.json and the folder of the model it names; infra/config/rules.toml
transform  none: the files are those that were evaluated; the items that the rules leave out are written beside
sink       {home}/models/{version} (infra/versions/store.py); a run in MLflow; register/version.json

A version does not serve before `publish`. Its time is that of the verdict, so a rerun makes the same version.

Run: headrace run register --date 2026-01-31
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import NightSettings, load
from headrace.infra.versions import model_files, rules, store
from headrace.infra.versions.store import Contents, Manifest
from headrace.jobs.batch import night
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import registry
from headrace.jobs.batch.training.local import POPULAR

STEP, RESULT = "register", "version.json"


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load().night
    if tonight.is_done(STEP):
        print(f"{STEP} of {tonight.date} is done: version {version(tonight)}; --again repeats it")
        return
    verdict = passed(tonight)
    manifest = keep(tonight, verdict, settings)
    number = registry.recorded(settings, manifest.version)  # without MLflow the night goes on
    with tonight.writing(STEP) as folder:
        durable.write(folder / RESULT, msgspec.json.encode({"version": manifest.version, "mlflow": number}))
    print(f"version {manifest.version}" + (f", MLflow's {registry.NAME} {number}" if number else ""))


def version(tonight: Night) -> str:
    """Returns the version that this night registered. Raises HeadraceError if it registered none."""
    return str(_read(tonight.result(STEP) / RESULT)["version"])


def passed(tonight: Night) -> dict[str, Any]:
    """Returns the gate's verdict. Raises HeadraceError unless it passed a model."""
    verdict: dict[str, Any] = _read(tonight.result("gate") / "verdict.json")
    if not verdict["passed"]:
        raise HeadraceError(f"night {tonight.date}: the gate must have passed, got passed = {verdict['passed']}")
    return verdict


def keep(tonight: Night, verdict: dict[str, Any], settings: NightSettings) -> Manifest:
    """Writes the version and returns its manifest; that of an earlier try if it is there already."""
    folder = tonight.result(verdict["model"])
    _check_files(folder, verdict.get("sha256", {}))
    contents, metrics = _contents(folder, Path(settings.rules)), _metrics(tonight, verdict["model"])
    created_ms = int((tonight.result("gate") / "verdict.json").stat().st_mtime * 1000)
    return store.write(folder, contents, created_ms, metrics)


def _check_files(folder: Path, judged: dict[str, str]) -> None:
    """Raises HeadraceError unless the model's files are those that the gate passed."""
    found = durable.hashes(folder)
    if other := sorted(name for name in found.keys() | judged if found.get(name) != judged.get(name)):
        what = f"{folder / other[0]} must be as the gate passed it, got another file or none"
        raise HeadraceError(f"{what}: `headrace run evaluate --again`, then gate and register")


def _contents(folder: Path, rules_path: Path) -> Contents:
    items = model_files.items(folder)
    left_out = rules.of_version(rules_path, items)
    absent = set(left_out)
    popular = [(item, users) for item, users in model_files.popular(folder) if item not in absent][:POPULAR]
    return Contents(items, popular, left_out)


def _metrics(tonight: Night, model: str) -> dict[str, float]:
    report = _read(tonight.result("evaluate") / "report.json")["models"].get(model, {})
    return {name: float(each["value"]) for name, each in report.items() if isinstance(each, dict) and "value" in each}


def _read(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise HeadraceError(f"{path} must be JSON: {error}") from None


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
