"""A job of the night by spark-submit, through a connection of Airflow's: for a cluster with a resource manager.

It runs in client mode, so that the driver runs here in the batch environment and its exit status is the job's.
Executors need that environment at the same path, or spark.archives and PYSPARK_PYTHON set at the connection.
"""

import os
from collections.abc import Sequence
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from headrace.dags.operators import Refused
from headrace.infra import paths
from headrace.infra.errors import REFUSED
from headrace.infra.launch import batch
from headrace.infra.settings import load


class SparkJob(SparkSubmitOperator):
    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "arguments", "needed")

    def __init__(self, *, job: str, arguments: list[str], needed: str = "True", **options: Any) -> None:
        arguments = [*batch.step(job).arguments, *arguments]
        submit = {"application": str(batch.script(job)), "application_args": arguments, "name": f"headrace {job}"}
        jars = ",".join(str(jar) for jar in sorted(paths.spark_jars().glob("*.jar")))
        super().__init__(**submit, jars=jars, driver_memory=load().spark.driver_memory, deploy_mode="client", **options)
        self.arguments = arguments
        self.needed = needed

    def execute(self, context: Any) -> None:
        if self.needed != "True":
            raise AirflowSkipException("this run does not ask for it")
        self.env_vars = _driver()
        try:
            super().execute(context)
        except AirflowException as error:
            if f"Error code is: {REFUSED}." in str(error):
                raise Refused("refused: see the job's last line") from None
            raise


def _driver() -> dict[str, str]:
    """Returns the variables that choose the batch environment's spark-submit, and its Python for driver and workers."""
    python = paths.python("batch")
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "PYSPARK_PYTHON": str(python)}
