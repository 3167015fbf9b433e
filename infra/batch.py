"""`headrace run`: a file of jobs/batch in the batch environment, with Spark as [spark] says."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from infra import places
from infra.errors import HeadraceError
from infra.settings import Spark

LOG4J = places.CHECKOUT / "infra" / "spark-log4j2.properties"
INCUBATOR = b"WARNING: Using incubator modules: jdk.incubator.vector\n"  # Java's own, of a module that Spark asks for
JOBS = places.CHECKOUT / "jobs" / "batch"


def known() -> list[str]:
    """Jobs: the files of jobs/batch with a main."""
    return [
        file.stem for file in sorted(JOBS.glob("[!_]*.py")) if re.search(r"^def main\(", file.read_text(), re.MULTILINE)
    ]


def command(job: str, arguments: list[str]) -> list[str]:
    if job not in known():
        raise HeadraceError(f"unknown job {job!r}; known: {', '.join(known())}")
    return [str(_python()), "-m", f"jobs.batch.{job}", *arguments]


def script(job: str) -> Path:
    return JOBS / f"{job}.py"


def uses_spark(job: str) -> bool:
    """Whether a job asks for a session (jobs/batch/spark.py)."""
    text = script(job).read_text() if script(job).is_file() else ""
    return bool(re.search(r"^from jobs\.batch.*\bspark\b", text, re.MULTILINE))


def _python() -> Path:
    python = places.python("batch")
    if not python.exists():
        raise HeadraceError(f"no batch environment at {python.parent.parent}: `make batch` installs it")
    return python


def environment(spark: Spark) -> dict[str, str]:
    """A job that asks for a Spark session starts one with these; a job that does not starts no JVM."""
    jars = ",".join(str(jar) for jar in sorted(places.spark_jars().glob("*.jar")))
    level = "warn" if os.environ.get("HEADRACE_DEBUG") else "off"
    java = f"-Dlog4j2.configurationFile={LOG4J.as_uri()} -Dheadrace.log={level}"
    submit = ["--master", spark.master, "--driver-memory", spark.driver_memory, "--jars", jars]
    variables = {
        "OPENBLAS_NUM_THREADS": "1",  # its threads spin, and take the cores from Spark's tasks
        "PYTHONPATH": str(places.CHECKOUT),
        "PYSPARK_PYTHON": str(_python()),
        "PYSPARK_SUBMIT_ARGS": shlex.join([*submit, "--driver-java-options", java, "pyspark-shell"]),
    }
    if spark.master.startswith("local"):  # else Spark warns of a host name that resolves to the loopback
        variables |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
    return os.environ | variables


def run(spark: Spark, job: str, arguments: list[str]) -> int:
    """The exit status of the job; what it prints goes where ours goes."""
    process = subprocess.Popen(
        command(job, arguments), env=environment(spark), cwd=places.CHECKOUT, stderr=subprocess.PIPE
    )
    with process, contextlib.suppress(KeyboardInterrupt):
        assert isinstance(process.stderr, io.BufferedReader)
        while said := process.stderr.read1():
            sys.stderr.buffer.write(said.replace(INCUBATOR, b""))
            sys.stderr.buffer.flush()
    return process.returncode
