"""The operators of the DAGs: each runs one command of Headrace in an environment of its own, and reads its exit status.

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
from functools import cached_property
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from headrace.infra import environments
from headrace.infra.errors import REFUSED, HeadraceError
from headrace.infra.launch import batch
from headrace.infra.settings import load

END_WAIT_S = 20


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
