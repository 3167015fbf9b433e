"""The jars that Maven makes, kept in the cache: Kafka's broker, Spark's Kafka source, and the jar of our Flink jobs.

Run: python -m headrace.infra.stack.jars kafka|spark|flink
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.stack import prerequisites

BROKER_POM = paths.PACKAGE / "infra" / "jars" / "broker" / "pom.xml"
SPARK_POM = paths.PACKAGE / "infra" / "jars" / "spark" / "pom.xml"
JOB_SOURCES = paths.PACKAGE / "udfs" / "jvm"
LAST_LINES = 5


def ensure() -> None:
    """Makes the jars that are missing or older than their sources. Raises HeadraceError if Maven fails."""
    if _stale(paths.kafka_jars() / ".ready", [BROKER_POM]):
        copy_kafka()
    if _stale(paths.job_jar(), [JOB_SOURCES / "pom.xml", *(JOB_SOURCES / "src" / "main").rglob("*.*")]):
        build_flink()


def ensure_spark() -> None:
    if _stale(paths.spark_jars() / ".ready", [SPARK_POM]):
        copy_spark()


def copy_kafka() -> None:
    _copy(BROKER_POM, paths.kafka_jars())


def copy_spark() -> None:
    _copy(SPARK_POM, paths.spark_jars())


def _copy(pom: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    _maven(pom, "dependency:copy-dependencies", f"-DoutputDirectory={target}")
    (target / ".ready").touch()


def build_flink() -> None:
    build = paths.cache() / "build" / "jvm"
    _maven(JOB_SOURCES / "pom.xml", "package", f"-Dheadrace.build={build}", "-Dmaven.test.skip=true")
    jar = paths.job_jar()
    jar.parent.mkdir(parents=True, exist_ok=True)
    new = jar.with_suffix(".new")
    shutil.copyfile(build / "headrace-flink.jar", new)
    os.replace(new, jar)  # a job that is being submitted sees the old jar or the new one, never half of it


def _stale(product: Path, sources: list[Path]) -> bool:
    return not product.exists() or product.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def _maven(pom: Path, *arguments: str) -> None:
    if not shutil.which("mvn"):
        raise HeadraceError("Maven is missing: run `headrace doctor`")
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(pom), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        tail = "\n".join([line for line in done.stdout.splitlines() if line.strip()][:LAST_LINES])
        raise HeadraceError(f"Maven could not build {pom.relative_to(paths.PACKAGE)}:\n{tail}")


if __name__ == "__main__":
    try:
        prerequisites.ensure()
        {"kafka": copy_kafka, "spark": copy_spark, "flink": build_flink}[sys.argv[1]]()
    except HeadraceError as error:
        sys.exit(f"headrace: {error}")
