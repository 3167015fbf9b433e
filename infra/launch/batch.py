"""`headrace run`: runs a step of the night in the batch environment, with Spark as [spark] sets it."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from headrace.infra import environments, extensions, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Spark

LOG4J = Path(__file__).with_name("spark-log4j2.properties")
INCUBATOR = b"WARNING: Using incubator modules: jdk.incubator.vector\n"  # Java warns of a module that Spark uses


class Step(NamedTuple):
    """A file of jobs/batch with a main. A step that trains is a family, and its file is train.py."""

    name: str
    uses_spark: bool  # asks for a session (jobs/batch/spark.py)
    about: str
    trains: bool = False  # a model of the night, for night.models

    @property
    def file(self) -> str:
        return TRAIN if self.trains else self.name

    @property
    def arguments(self) -> list[str]:
        """The arguments before the caller's own."""
        return [self.name] if self.trains else []


TRAIN = "train"
_OTHERS = (
    Step("import_file", True, "events of a file into the lake"),
    Step("land", True, "what is in Kafka into the lake"),
    Step("check", True, "the day's data against their expectations"),
    Step("evaluate", True, "judges every model of the night on events that none has seen"),
    Step("gate", False, "passes or refuses the best of them"),
    Step("register", False, "keeps it as an immutable version"),
    Step("index", False, "nearest-neighbour index of its items"),
    Step("precompute", True, "every user's list, under the version's own keys"),
    Step("verify", True, "reads the version's lists as a reader would"),
    Step("publish", False, "makes the version the one that serves"),
    Step("drift", True, "how far the day's data are from the days before"),
    Step("compact", True, "few large files in the lake in place of many small ones"),
    Step("upkeep", False, "drops versions and nights that nobody needs"),
)


def _families() -> tuple[Step, ...]:
    """Returns a step for each file of jobs/batch/families that declares a family, by its first line."""
    sources = {path.stem: path.read_text() for path in sorted((JOBS / "families").glob("*.py"))}
    declared = {name: text for name, text in sources.items() if "\nFAMILY = " in text}
    about = {name: text.removeprefix('"""').partition("\n")[0].rstrip('."') for name, text in declared.items()}
    return tuple(Step(name, True, f"trains {text[0].lower()}{text[1:]}", trains=True) for name, text in about.items())


JOBS = paths.PACKAGE / "jobs" / "batch"
STEPS = (*_OTHERS[:3], *_families(), *_OTHERS[3:])
NAMES = tuple(step.name for step in STEPS)


def command(job: str, arguments: list[str]) -> list[str]:
    found = step(job)
    python = str(environments.ready("batch"))
    return [python, "-m", f"headrace.jobs.batch.{found.file}", *found.arguments, *arguments]


def step(job: str) -> Step:
    """Returns a step by its name, or that of a shop's own family by `module:NAME`. Raises HeadraceError if unknown."""
    if extensions.is_reference(job):
        return Step(job, True, "trains a family of your own", trains=True)
    match = next((each for each in STEPS if each.name == job), None)
    if match is None:
        raise HeadraceError(f"unknown job {job!r}; known: {', '.join(NAMES)}, or module:NAME of a family")
    return match


def script(job: str) -> Path:
    return JOBS / f"{step(job).file}.py"


def environment(spark: Spark) -> dict[str, str]:
    """Returns the environment of a job. A job that asks for a Spark session gets these options; others start no JVM."""
    jars = ",".join(str(jar) for jar in sorted(paths.spark_jars().glob("*.jar")))
    level = "warn" if os.environ.get("HEADRACE_DEBUG") else "off"
    java = f"-Dlog4j2.configurationFile={LOG4J.as_uri()} -Dheadrace.log={level}"
    submit = ["--master", spark.master, "--driver-memory", spark.driver_memory, "--jars", jars]
    # A bar is no line of a log.
    submit += ["--conf", f"spark.ui.showConsoleProgress={str(sys.stderr.isatty()).lower()}"]
    variables = {
        "OPENBLAS_NUM_THREADS": "1",  # its threads spin, and take the cores from Spark's tasks
        "PYSPARK_PYTHON": str(paths.python("batch")),
        "PYSPARK_SUBMIT_ARGS": shlex.join([*submit, "--driver-java-options", java, "pyspark-shell"]),
    }
    if project := paths.project():  # the modules of a shop's own families, also where Spark's workers open them
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")]))
    if spark.master.startswith("local"):  # else Spark warns of a host name that resolves to the loopback
        variables |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
    return os.environ | variables


def run(spark: Spark, job: str, arguments: list[str]) -> int:
    """Runs a job, with our output as its own, and returns its exit status. Raises HeadraceError if it is unknown."""
    process = subprocess.Popen(command(job, arguments), env=environment(spark), stderr=subprocess.PIPE)
    with process, contextlib.suppress(KeyboardInterrupt):
        assert isinstance(process.stderr, io.BufferedReader)
        while output := process.stderr.read1():
            sys.stderr.buffer.write(output.replace(INCUBATOR, b""))
            sys.stderr.buffer.flush()
    return process.returncode
