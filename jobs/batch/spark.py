"""The Spark session of a job: the launcher's master, memory and jars, and what our code relies on.

`headrace run JOB` and `spark-submit jobs/batch/JOB.py` choose the former; the latter is set here for both.
"""

from typing import Any

from pyspark.sql import SparkSession

OURS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.ansi.enabled": "true",
    "spark.ui.showConsoleProgress": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.redaction.options.regex": "(?i)url|secret|password|token|jaas",
}


def session(name: str, **more: Any) -> SparkSession:
    builder = SparkSession.builder.appName(f"headrace {name}")
    for key, value in (OURS | more).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
