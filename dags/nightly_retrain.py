"""Each night: train new models on all events so far, and serve the best of them if it is good enough.

    land > check > (als, two_tower, ...) > collect > evaluate > gate > register > index > precompute > verify > publish
    > announce

A night of date D takes the events of all days up to and including D. Each step leaves a folder of its own or nothing,
so a run that failed goes on where it stopped, and a night that is done stays as it is. A model that fails costs itself
alone: the night goes on with the others. `headrace retrain --date D` runs this DAG without a scheduler.
"""

import json
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, Metadata, Param, TriggerRule, chain, task

from headrace.dags import tasks
from headrace.dags.operators import Refused
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
    "verify": "Reads the version's lists as a reader would. **If it fails, the old version goes on serving.**",
    "publish": "Makes this version the one that serves, in one step. `headrace rollback` takes it back, and stays in "
    "force if this task runs again. **Red at once: a version of a newer night has served.**",
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

    @task(
        trigger_rule=TriggerRule.ALL_DONE,  # no rule of Airflow's asks for one success among failed and skipped tasks
        on_failure_callback=tasks.tell_unless_refused,
        doc_md="Goes on with the models that were trained. A model that failed is red itself, and costs the night "
        "nothing else. **Red: no model was trained**, because all failed or a step before them did.",
    )
    def collect(ti: Any, run_id: str) -> list[str]:
        trainers = [each.task_id for each in models.values()]
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=trainers, run_ids=[run_id])[run_id]
        trained = sorted(name for name, state in states.items() if state == "success")
        lost = sorted(name for name, state in states.items() if state not in ("success", "skipped"))
        if not trained:
            raise Refused(f"no model was trained: {', '.join(lost)} failed or did not begin")
        print(f"trained: {', '.join(trained)}; failed: {', '.join(lost) or 'none'}")
        return lost

    evaluate = step("evaluate")
    evaluate.operator_extra_links = (ReportLink(),)
    register = step("register", needed="{{ not params.dry_run }}")

    @task(outlets=[MODEL], doc_md="Tells the DAGs that follow the asset `headrace_model` which version serves now.")
    def announce(date: str) -> object:
        pointer = json.loads((paths.home() / "nights" / date / "publish" / "published.json").read_text())
        yield Metadata(MODEL, {"version": pointer["version"], "date": date})

    chain(step("land"), step("check"), list(models.values()), collect(), evaluate, step("gate"), register)
    chain(register, step("index"), step("precompute"), step("verify"), step("publish"), announce(DATE))
