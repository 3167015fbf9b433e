"""The tasks of the DAGs: what every DAG and every job of one has in common."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator

from headrace.dags.operators import JobOperator, Refused
from headrace.infra.clients import webhook
from headrace.infra.extensions import label
from headrace.infra.launch import batch
from headrace.infra.settings import Settings, load

YESTERDAY = "{{ macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"  # the day before the run
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def job(name: str, arguments: list[str], **options: Any) -> BaseOperator:
    """Returns a job's task; it goes by spark-submit if it uses Spark and airflow.spark_connection is set."""
    connection = load().airflow.spark_connection
    if connection and batch.step(name).uses_spark:
        from headrace.dags.spark_submit import SparkJob

        return SparkJob(task_id=label(name), job=name, arguments=arguments, conn_id=connection, **options)
    return JobOperator(task_id=label(name), job=name, arguments=arguments, **options)


def common(settings: Settings, **more: Any) -> dict[str, Any]:
    """Returns the arguments of every DAG. more: arguments of its tasks.

    A missed run is not caught up, because a night holds all days before it.
    """
    defaults = {
        "owner": "headrace",
        "retries": settings.airflow.retries,
        "retry_delay": timedelta(seconds=settings.airflow.retry_delay_s),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": timedelta(seconds=settings.airflow.timeout_s),
        "on_failure_callback": tell,
    }
    return {"start_date": SINCE, "catchup": False, "max_active_runs": 1, "default_args": defaults | more}


def tell(context: Any) -> None:
    """Sends to alerts.webhook what failed, why, and where its log is. It is the failure callback of every task."""
    instance, run = context["task_instance"], context["dag_run"]
    text = f"{instance.dag_id}.{instance.task_id} failed: {context.get('exception') or 'its process was lost'}"
    fields = {"dag": instance.dag_id, "task": instance.task_id, "run": run.run_id, "log": instance.log_url}
    webhook.send(load().alerts, text, **fields)


def tell_unless_refused(context: Any) -> None:
    """The failure callback of a watch, which sends its refusals itself."""
    if not isinstance(context.get("exception"), Refused):
        tell(context)
