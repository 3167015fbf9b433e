"""Every few minutes: are the Flink jobs well? A job that failed or is gone runs again from its last checkpoint.

Each trouble goes to `alerts.webhook` once when it begins and once when it ends. Each day takes a savepoint of every
job; the newest `watch.savepoints_kept` stay. `headrace watch` reports the same in a terminal.
"""

from datetime import timedelta

from airflow.sdk import DAG

from headrace.dags import tasks
from headrace.dags.operators import CommandOperator
from headrace.infra.settings import load

settings = load()
SCHEDULES = {"streaming_watch": settings.watch.schedule, "streaming_savepoints": settings.watch.savepoint_schedule}
LIMIT = timedelta(minutes=15)  # a job takes up to a minute to be submitted


def watching(name: str, docs: str) -> DAG:
    common = tasks.common(settings, execution_timeout=LIMIT)
    return DAG(name, schedule=SCHEDULES[name], doc_md=docs, tags=["headrace", "streaming"], **common)


with watching("streaming_watch", __doc__):
    CommandOperator(
        task_id="watch",
        arguments=["watch", "--revive", "--tell"],
        doc_md="Red: something is not well; the log lists every check. It turns green by itself once all is well. "
        "A job without a known checkpoint is left alone: `headrace submit JOB`. A job that `headrace stop` ended stays "
        "ended.",
        on_failure_callback=tasks.tell_unless_refused,
    )

with watching("streaming_savepoints", "Takes a savepoint of every running job, each day."):
    CommandOperator(
        task_id="savepoint",
        arguments=["watch", "--savepoint", "--tell"],
        doc_md="Red: a savepoint failed, or a check of `streaming_watch` did. The log has the paths.",
        on_failure_callback=tasks.tell_unless_refused,
    )
