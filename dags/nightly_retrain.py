"""Each night: train new models on all events so far, and serve the best of them if it is good enough.

    land > check > (als, two_tower, ...) > evaluate > gate > register > index > precompute > publish > verify > announce

A night of date D takes the events of all days up to and including D. Each step leaves a folder of its own or nothing,
so a run that failed goes on where it stopped, and a night that is done stays as it is. `headrace retrain --date D` runs
this DAG without a scheduler.
"""

import json

from airflow.sdk import DAG, Asset, BaseOperator, Metadata, Param, TriggerRule, chain, task

from headrace.dags import tasks
from headrace.dags.report_link import ReportLink
from headrace.infra import paths
from headrace.infra.settings import load

settings = load()
MODEL = Asset("headrace_model", uri="x-headrace://model")
DATE = "{{ params.date or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"
PARAMS = {
    "date": Param(
        None, type=["null", "string"], format="date", description="The night's last day, UTC; the day before"
    ),
    "models": Param(
        settings.night.models,
        type="array",
        items={"enum": settings.night.models},
        minItems=1,
        uniqueItems=True,
        description="Which models to train; the gate chooses among them",
    ),
    "dry_run": Param(False, type="boolean", description="Train and judge, but register and publish nothing"),
}
DOCS = {
    "land": "Copies clicks, impressions and rewards from Kafka to the lake, from where the last night ended.",
    "check": "Checks the day's data against its expectations. **If it fails, nothing is trained and the old model "
    "serves.** Look at the report in the log; mend the source or the suite, then clear this task.",
    "federated": "Fuses the devices' global model with the night's ALS: docs/federated.md.",
    "evaluate": "Judges every model of the night, and simple rivals, on events that no model has seen. The report is "
    "linked.",
    "gate": "Holds the numbers against infra/config/gates.toml. **If it fails, the old model goes on serving.** "
    "That is the gate at work, not a fault; the last line of the log names the broken rule.",
    "register": "Keeps the chosen model as an immutable version, and in MLflow with all that it came from.",
    "index": "Makes the nearest-neighbour index of the version's items.",
    "precompute": "Writes every user's list, under the version's own keys: nobody reads them yet.",
    "publish": "Makes this version the one that serves, in one step. `headrace rollback` takes it back.",
    "verify": "Reads as a reader would. **If it fails, the version serves already**; `headrace rollback` if it is bad.",
}


def step(name: str, **options: str) -> BaseOperator:
    doc = DOCS.get(name, f"Trains the model `{name}` on what `land` brought.")
    return tasks.job(name, ["--date", DATE], doc_md=doc, **options)


with DAG(
    "nightly_retrain",
    schedule=settings.night.schedule,
    params=PARAMS,
    doc_md=__doc__,
    tags=["headrace", "batch"],
    **tasks.common(settings),
) as dag:
    models = {name: step(name, needed=f"{{{{ {name!r} in params.models }}}}") for name in settings.night.models}
    if "federated" in models:
        models["als"] >> models["federated"]
    evaluate = step("evaluate", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    evaluate.operator_extra_links = (ReportLink(),)
    register = step("register", needed="{{ not params.dry_run }}")

    @task(outlets=[MODEL], doc_md="Tells the DAGs that follow the asset `headrace_model` which version serves now.")
    def announce(date: str) -> object:
        registered = json.loads((paths.home() / "nights" / date / "register" / "version.json").read_text())
        yield Metadata(MODEL, {"version": registered["version"], "date": date})

    chain(step("land"), step("check"), list(models.values()), evaluate, step("gate"), register)
    chain(register, step("index"), step("precompute"), step("publish"), step("verify"), announce(DATE))
