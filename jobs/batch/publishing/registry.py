"""MLflow: a run for each version, with what it was made of and how good it is, and the registered model `headrace`.

MLflow is a record and a place to look, not an owner. current.json (infra/versions/store.py) says which version serves,
and the aliases `champion` and `previous` follow it. The files of a version stay where they are; MLflow points to them.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.infra import paths
from headrace.infra.settings import NightSettings
from headrace.infra.versions import store
from headrace.infra.versions.store import Manifest

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME, EXPERIMENT = "headrace", "night"
VERSION = "headrace.version"  # tag of runs and of model versions
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
QUIET |= {"MLFLOW_LOGGING_LEVEL": "ERROR"}
TEXT_MAX = 5000  # characters of a parameter or tag


def client(night: NightSettings) -> "MlflowClient":
    """Returns a client that asks nothing of any network but the registry's own. Importing MLflow takes seconds."""
    os.environ.update(QUIET)
    import logging

    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    home = paths.home() / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    address = night.registry or f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(address, address)


def record(registry: "MlflowClient", manifest: Manifest, artefacts: list[Path]) -> str:
    """Records the version, unless MLflow has it, and returns MLflow's number of it."""
    if number := _number(registry, manifest.version):
        return number
    run = registry.create_run(_experiment(registry), run_name=manifest.version, tags={VERSION: manifest.version})
    run_id = run.info.run_id
    for name, value in _flat({"kind": manifest.kind, **manifest.dims, **manifest.parameters}).items():
        registry.log_param(run_id, name, value)
    for name, value in _flat({"commit": manifest.commit, **manifest.lineage}, "lineage.").items():
        registry.set_tag(run_id, name, value)
    for name, metric in manifest.metrics.items():
        registry.log_metric(run_id, name.replace("@", "_at_"), metric)
    for path in artefacts:
        registry.log_artifact(run_id, str(path))
    registry.set_terminated(run_id)
    source = (store.root() / manifest.version).as_uri()
    model_version = registry.create_model_version(NAME, source, run_id, tags={VERSION: manifest.version})
    return str(model_version.version)


def follow(registry: "MlflowClient") -> None:
    """Moves the aliases to the pointer's versions; a version that was never recorded has none."""
    _experiment(registry)
    pointer = store.current()
    for alias, version in (("champion", pointer and pointer.version), ("previous", pointer and pointer.previous)):
        number = version and _number(registry, version)
        if number:
            registry.set_registered_model_alias(NAME, alias, number)
        else:
            registry.delete_registered_model_alias(NAME, alias)


def forget(registry: "MlflowClient") -> list[str]:
    """Removes the model versions whose files are gone, and returns their names. Their runs stay, as the history."""
    kept = {each.version for each in store.versions()}
    gone = [each for each in _known(registry) if each.tags.get(VERSION) not in kept]
    for each in gone:
        registry.delete_model_version(NAME, each.version)
    return [str(each.tags.get(VERSION)) for each in gone]


def _number(registry: "MlflowClient", version: str) -> str | None:
    return next((str(each.version) for each in _known(registry) if each.tags.get(VERSION) == version), None)


def _known(registry: "MlflowClient") -> list[Any]:
    return list(registry.search_model_versions(f"name = '{NAME}'"))


def _experiment(registry: "MlflowClient") -> str:
    """Returns the experiment's id. Makes it and the registered model if they are missing, also in two jobs at once."""
    from mlflow.exceptions import MlflowException

    artefacts = (paths.home() / "mlflow" / "artefacts").as_uri()
    makers: tuple[Any, ...] = (
        lambda: registry.create_registered_model(NAME),
        lambda: registry.create_experiment(EXPERIMENT, artifact_location=artefacts),
    )
    experiment = registry.get_experiment_by_name(EXPERIMENT)
    for make in makers if experiment is None else ():
        try:
            make()
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    return str((experiment or registry.get_experiment_by_name(EXPERIMENT)).experiment_id)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns {"a": {"b": 1}} as {"a.b": "1"}."""
    values: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = str(value)[:TEXT_MAX]
    return values
