"""The day's chores after the night: compact the lake, remove old versions, report rewards, measure drift.

    land > (compact, rewards, drift > has_drifted > retrain);  upkeep, of the versions

Drift beyond infra/config/drift.toml starts `nightly_retrain` early, for shops that do not retrain each night. A night
that is done stays as it is.
"""

import json

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, chain, task

from headrace.dags import tasks
from headrace.dags.operators import CommandOperator
from headrace.infra import paths
from headrace.infra.settings import load

settings = load()
DATE = tasks.YESTERDAY

with DAG(
    "upkeep",
    schedule=settings.night.upkeep_schedule,
    doc_md=__doc__,
    tags=["headrace", "batch"],
    **tasks.common(settings),
) as dag:
    dated = ["--date", DATE]
    land = tasks.job("land", dated, doc_md="Copies the day's events to the lake, if no night has landed them.")
    compact = tasks.job("compact", [], doc_md="Makes few files of a day's many; readers see no difference.")
    rewards = CommandOperator(
        task_id="rewards",
        arguments=["rewards", *dated],
        doc_md="Reports what each policy earned per shown item that day, with its interval: the table is in the log.",
    )
    drift = tasks.job("drift", dated, doc_md="Compares the day with the week before it: the log lists each measure.")

    @task.short_circuit(doc_md="Goes on only if a measure of `drift` is beyond its limit; else skips the rest.")
    def has_drifted(date: str) -> bool:
        report = json.loads((paths.home() / "nights" / date / "drift" / "report.json").read_text())
        return bool(report["beyond"])

    retrain = TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id="nightly_retrain",
        conf={"date": DATE},
        doc_md="Starts the night of that date now.",
    )
    versions = tasks.job("upkeep", [], doc_md="Removes old versions from disk and Redis, and drafts of killed steps.")
    chain(land, [compact, rewards, drift])
    chain(drift, has_drifted(DATE), retrain)
