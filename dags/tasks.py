"""The tasks of the DAGs: each runs one command of Headrace in an environment of its own, and reads its exit status.

    0      done
    3      refused by a check, a gate or a watch: a retry would give the same, so there is none
    other  failed or killed: tried again after airflow.retry_delay_s, then after twice that

Airflow's own environment needs infra/ and its settings; no Spark, no torch, no Flink.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from headrace.infra import environments
from headrace.infra.clients import webhook
from headrace.infra.errors import REFUSED, HeadraceError
from headrace.infra.launch import batch
from headrace.infra.settings import Settings, load

END_WAIT_S = 20
YESTERDAY = "{{ macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"  # the day before the run
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


class Refused(AirflowFailException):
    """The command ended with 3: a check, a gate or a watch refuses."""


class CommandOperator(BaseOperator):
    """Runs `headrace ARGUMENTS` in the streaming environment."""

    said = ""  # the last line that the command printed
    template_fields: Sequence[str] = ("arguments", "needed")

    def __init__(self, *, arguments: list[str], needed: str = "True", **options: Any) -> None:
        super().__init__(**options)
        self.arguments = arguments
        self.needed = needed  # a template; the task is skipped unless it renders to True

    @cached_property
    def process(self) -> SubprocessHook:
        return SubprocessHook()

    def command(self) -> list[str]:
        try:
            return [str(environments.ready("streaming")), "-m", "headrace", *self.arguments]
        except HeadraceError as error:
            raise AirflowFailException(str(error)) from None

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def execute(self, context: Any) -> None:
        if self.needed != "True":
            raise AirflowSkipException("this run does not ask for it")
        try:
            ended = self.process.run_command(self.command(), self.environment())
        except BaseException:  # a time limit; Ctrl-C of `headrace retrain`
            self.on_kill()
            raise
        self.said = ended.output
        if ended.exit_code == REFUSED:
            raise Refused(f"refused: {ended.output}")
        if ended.exit_code:
            raise AirflowException(f"exit status {ended.exit_code}: {ended.output}")

    def on_kill(self) -> None:
        """Ends the command with its JVM and workers. Airflow also calls it when a running task is marked or cleared."""
        process = self.process.sub_process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_WAIT_S)
            os.killpg(process.pid, signal.SIGKILL)


class JobOperator(CommandOperator):
    """Runs `headrace run JOB ARGUMENTS` in the batch environment."""

    def __init__(self, *, job: str, **options: Any) -> None:
        super().__init__(**options)
        self.job = job

    def command(self) -> list[str]:
        try:
            return batch.command(self.job, self.arguments)
        except HeadraceError as error:
            raise AirflowFailException(str(error)) from None

    def environment(self) -> dict[str, str]:
        return batch.environment(load().spark)


def job(name: str, arguments: list[str], **options: Any) -> BaseOperator:
    """Returns a job's task; it goes by spark-submit if it uses Spark and airflow.spark_connection is set."""
    connection = load().airflow.spark_connection
    if connection and batch.step(name).uses_spark:
        from headrace.dags.spark_submit import SparkJob

        return SparkJob(task_id=name, job=name, arguments=arguments, conn_id=connection, **options)
    return JobOperator(task_id=name, job=name, arguments=arguments, **options)


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
