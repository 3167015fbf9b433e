"""The Spark session of a job: the launcher's master, memory and jars, and the settings that our code relies on.

`headrace run JOB` and `spark-submit jobs/batch/JOB.py` choose the master, the memory and the jars. The settings are
made here for both.
"""

import re
from typing import Any

from pyspark.sql import SparkSession

OURS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.ansi.enabled": "true",
    # Over TCP, the JVM and Python wait 40 ms for an acknowledgement in each task.
    "spark.python.unix.domain.socket.enabled": "true",
    # BLAS threads of several tasks would take each other's cores. Collected results may exceed the default of 1 GB.
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.driver.maxResultSize": "0",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.redaction.options.regex": "(?i)url|secret|password|token|jaas",
}
LOCAL_PARTITIONS = 4  # a core


def on_one_machine(spark: SparkSession) -> bool:
    """Returns whether driver and workers are on one machine."""
    return bool(re.fullmatch(r"local(\[.*\])?", spark.sparkContext.master))


def session(name: str, **more: Any) -> SparkSession:
    builder = SparkSession.builder.appName(f"headrace {name}")
    for key, value in (OURS | more).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if on_one_machine(spark) and "spark.sql.shuffle.partitions" not in more:
        # Spark's own 200 are for a cluster: on two cores most of a small night's time went into starting tasks.
        spark.conf.set("spark.sql.shuffle.partitions", LOCAL_PARTITIONS * spark.sparkContext.defaultParallelism)
    return spark
