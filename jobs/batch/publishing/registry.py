"""MLflow: a run for each model that a night trained, and the registered model `headrace`, which loads.

A run says what the model was made of and how good it is, also of one that lost or that the gate refused. A version is a
model version of the run that trained it; its files stay where they are, and MLflow points to them
(jobs/batch/publishing/loadable.py).

MLflow is a record and a place to look, not an owner. current.json (infra/versions/store.py) says which version serves,
and the aliases `champion` and `previous` follow it. What could not be recorded is recorded by the next one who comes.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.infra import durable, paths
from headrace.infra.errors import describe
from headrace.infra.settings import NightSettings
from headrace.infra.versions import model_files, store
from headrace.infra.versions.store import Manifest
from headrace.jobs.batch.publishing import loadable, trained_runs
from headrace.jobs.batch.publishing.trained_runs import TrainedRun

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME, EXPERIMENT = "headrace", "night"
VERSION = "headrace.version"  # tag of runs and of model versions
TRAINED = "headrace.trained"  # tag of runs: the sha256 of the model's description
STATE = "headrace.state"  # tag of runs: the sha256 of what is known of the model
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
QUIET |= {"MLFLOW_LOGGING_LEVEL": "ERROR"}
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # seconds; its own is minutes


def client(night: NightSettings) -> "MlflowClient":
    """Returns a client that asks nothing of any network but the registry's own. Importing MLflow takes seconds."""
    os.environ.update(QUIET)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import logging

    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    address = night.registry or f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(address, address)


def recorded(night: NightSettings, version: str) -> str | None:
    """Records everything and returns MLflow's number of the version; None, and a line, if MLflow cannot be reached."""
    try:
        registry = client(night)
        complete(registry)
        return _number(registry, version)
    except Exception as error:  # of MLflow, its database or its server
        print(
            f"MLflow has no record of {version} yet, the next register, publish or upkeep makes it: {describe(error)}"
        )
        return None


def complete(registry: "MlflowClient") -> None:
    """Records the models of the nights and the versions that MLflow does not know, or not as they are now."""
    experiment = _experiment(registry)
    with durable.locked(_home()):
        runs = _runs(registry, experiment)
        for trained in trained_runs.all_nights():
            _record(registry, experiment, runs, trained)
        known = {each.tags.get(VERSION) for each in _known(registry)}
        for manifest in store.versions():
            if manifest.version not in known and "date" in manifest.lineage:
                _register(registry, experiment, runs, manifest)


def follow(registry: "MlflowClient") -> None:
    """Completes the record, and moves the aliases to the pointer's versions."""
    complete(registry)
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


def _record(registry: "MlflowClient", experiment: str, runs: dict[str, Any], trained: TrainedRun) -> str:
    """Returns the id of the model's run, with all that is known of it. runs: by TRAINED."""
    run, state = runs.get(trained.key), trained.state()
    if run is not None and run.data.tags.get(STATE) == state:
        return str(run.info.run_id)
    if run is None:
        run = registry.create_run(experiment, run_name=trained.name, tags={TRAINED: trained.key})
        registry.log_inputs(run.info.run_id, [trained.data()])
        registry.log_batch(run.info.run_id, params=trained.parameters())
        registry.set_terminated(run.info.run_id)
    run_id = str(run.info.run_id)
    registry.log_batch(run_id, metrics=trained.metrics(), tags=trained.tags())
    for path in trained.documents():
        registry.log_artifact(run_id, str(path))
    registry.set_tag(run_id, STATE, state)  # last: a record that dies half-way is made again
    runs[trained.key] = registry.get_run(run_id)
    return run_id


def _register(registry: "MlflowClient", experiment: str, runs: dict[str, Any], manifest: Manifest) -> None:
    key = manifest.sha256.get(model_files.MODEL, manifest.version)
    run = runs.get(key)
    run_id = run.info.run_id if run else _record(registry, experiment, runs, trained_runs.of_version(manifest, key))
    folder = store.root() / manifest.version
    with tempfile.TemporaryDirectory() as draft:
        loadable.write(Path(draft), folder, run_id)
        registry.log_artifacts(run_id, draft, loadable.PLACE)
    registry.log_artifact(run_id, str(folder / model_files.MANIFEST))
    registry.set_tag(run_id, VERSION, manifest.version)
    source = f"{registry.get_run(run_id).info.artifact_uri}/{loadable.PLACE}"
    registry.create_model_version(NAME, source, run_id, tags={VERSION: manifest.version})


def _home() -> Path:
    return paths.home() / "mlflow"


def _runs(registry: "MlflowClient", experiment: str) -> dict[str, Any]:
    runs: dict[str, Any] = {}
    token = None
    while True:
        page = registry.search_runs([experiment], max_results=1000, page_token=token)
        runs |= {run.data.tags[TRAINED]: run for run in page if TRAINED in run.data.tags}
        if not (token := page.token):
            return runs


def _number(registry: "MlflowClient", version: str) -> str | None:
    return next((str(each.version) for each in _known(registry) if each.tags.get(VERSION) == version), None)


def _known(registry: "MlflowClient") -> list[Any]:
    return list(registry.search_model_versions(f"name = '{NAME}'"))


def _experiment(registry: "MlflowClient") -> str:
    """Returns the experiment's id. Makes it and the registered model if they are missing, also in two jobs at once."""
    from mlflow.exceptions import MlflowException

    artefacts = (_home() / "artefacts").as_uri()
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
