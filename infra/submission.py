"""`headrace submit`: a file of jobs/streaming to the cluster at flink.rest, by Flink's own client."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra import flink, places
from infra.errors import HeadraceError
from infra.settings import Settings
from infra.stack import jars, programs, rendering

JOBS = places.CHECKOUT / "jobs" / "streaming"
RUNNING_WAIT_S = 60
JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")


@dataclass(frozen=True)
class Submission:
    job: str
    parallelism: int | None = None
    state_backend: str | None = None
    from_savepoint: str | None = None
    arguments: tuple[str, ...] = ()  # for the job's own main


def known() -> list[str]:
    """Jobs: the files of jobs/streaming with a main."""
    files = sorted(JOBS.glob("[!_]*.py"))
    return [file.stem for file in files if re.search(r"^def main\(", file.read_text(), re.MULTILINE)]


def submit(settings: Settings, submission: Submission) -> str:
    """The id of the job, once all its tasks run."""
    if submission.job not in known():
        raise HeadraceError(f"unknown job {submission.job!r}; known: {', '.join(known())}")
    if running := flink.alive(settings.flink, submission.job):
        raise HeadraceError(
            f"job {submission.job} runs already ({running.id}): `headrace stop {submission.job}` ends it"
        )
    command = _command(settings, submission)
    jars.ensure()
    rendering.write_flink_client(settings)
    job_id = _run_client(command, submission.job)
    flink.wait_running(settings.flink, job_id, RUNNING_WAIT_S)
    return job_id


def _savepoint(path: str) -> str:
    """A URI as it is, a local folder whole."""
    if re.match(r"[a-z0-9]+:", path):
        return path
    if not Path(path).exists():
        raise HeadraceError(f"--from-savepoint must name an existing folder, got {path!r}")
    return str(Path(path).absolute())


def _command(settings: Settings, submission: Submission) -> list[str]:
    options = ["--detached", "--parallelism", str(submission.parallelism or settings.flink.parallelism)]
    options.append(f"-Dstate.backend.type={submission.state_backend or settings.flink.state_backend}")
    if submission.from_savepoint:
        options += ["--fromSavepoint", _savepoint(submission.from_savepoint)]
    script = JOBS / f"{submission.job}.py"
    client = programs.flink_home() / "bin" / "flink"
    return [str(client), "run", *options, "--jarfile", str(places.job_jar()), "-py", str(script), *submission.arguments]


def _run_client(command: list[str], job: str) -> str:
    environment = os.environ | {
        "FLINK_CONF_DIR": str(places.flink_client_conf()),
        "FLINK_LOG_DIR": str(places.logs()),
        "FLINK_IDENT_STRING": "headrace",
        "HOSTNAME": "local",
    }
    # From the checkout, so that a job finds its packages whichever way they are installed.
    done = subprocess.run(
        command, env=environment, cwd=places.CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    found = JOB_ID.search(done.stdout)
    if done.returncode or not found:
        full = places.logs() / f"submit-{job}.log"
        full.write_text(done.stdout)
        raise HeadraceError(f"job {job} was not submitted: {_cause(done.stdout)} (all of it: {full})")
    return found[1]


def _cause(output: str) -> str:
    """The line that says most: the last Python or Java error in what the client printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(Caused by: )?([\w.$]+\.)?\w*(Error|Exception|Exit)\b", line)]
    innermost = [line for line in errors if "ProgramAbortException" not in line and "ProgramInvocation" not in line]
    refused = [line for line in lines if "Cannot map checkpoint/savepoint state" in line]
    return (refused or innermost or errors or lines or ["the client printed nothing"])[-1].removeprefix("Caused by: ")
