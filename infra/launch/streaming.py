"""`headrace submit`: submits a file of jobs/streaming to the cluster at flink.rest, by Flink's own client."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.infra import job_notes, paths
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import jars, programs, rendering

JOBS = ("session_features", "collaborative", "covisitation", "bandit", "federated")  # files of jobs/streaming
# By job: an operator of releases up to 0.2.0 alone, in their savepoints.
LEFT = dict.fromkeys(("session_features", "collaborative", "covisitation"), b"done[") | {"bandit": b"Deduplicate["}
RUNNING_WAIT_S = 60
JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")
ERROR = re.compile(r"(Caused by: )?([\w.$]+\.)?\w*(Error|Exception|Exit)\b")
WRAPPER = re.compile(r"ProgramAbortException|ProgramInvocation")  # errors of the client around the real one


@dataclass(frozen=True)
class Submission:
    """A job to run. It begins without state unless from_savepoint names a place (infra/operate/beginning.py)."""

    job: str
    parallelism: int | None = None
    state_backend: str | None = None
    from_savepoint: str | None = None
    arguments: tuple[str, ...] = ()  # for the job's own main
    place_ms: int = 0  # when from_savepoint was taken
    generation: str = ""  # what its state means
    anew_ms: int = 0  # when it was decided that the job begins without state
    name: str = ""  # that the run has in Flink, if it is not the job's
    some_state: bool = False  # the run has no use for a part of the state

    @property
    def run_name(self) -> str:
        return self.name or self.job

    @property
    def is_the_job(self) -> bool:
        """Whether this is the job itself, not a run beside it."""
        return self.run_name == self.job


def script(job: str) -> Path:
    if job not in JOBS:
        raise HeadraceError(f"unknown job {job!r}; known: {', '.join(JOBS)}")
    return paths.PACKAGE / "jobs" / "streaming" / f"{job}.py"


def submit(settings: Settings, submission: Submission) -> str:
    """Submits a job and returns its id once all its tasks run. Raises HeadraceError as `check` does, or if it fails."""
    file = script(submission.job)
    with job_notes.alone(submission.run_name):  # two at once would both find that none runs
        check(settings, submission)
        command = _command(settings, submission, file)
        jars.ensure()
        rendering.write_flink_client(settings)
        job_id = _run_client(settings, command, submission)
        if submission.is_the_job:
            _note(settings, submission, job_id)
    flink.wait_running(settings.flink, job_id, RUNNING_WAIT_S)
    return job_id


def _note(settings: Settings, submission: Submission, job_id: str) -> None:
    parallelism = submission.parallelism or settings.flink.parallelism
    backend = submission.state_backend or settings.flink.state_backend
    before = job_notes.read(submission.job) or job_notes.JobNote(job_id, parallelism, backend)
    note = msgspec.structs.replace(
        before,
        id=job_id,
        parallelism=parallelism,
        state_backend=backend,
        place=submission.from_savepoint or "",
        place_ms=submission.place_ms or time.time_ns() // 1_000_000,
        ended=False,
        generation=submission.generation,
        anew_ms=submission.anew_ms or before.anew_ms,
    )
    job_notes.write(submission.job, note)


def check(settings: Settings, submission: Submission) -> None:
    """Raises HeadraceError if the job is unknown or runs already, or if Flink is away."""
    script(submission.job)
    if running := flink.alive(settings.flink, submission.run_name):
        raise HeadraceError(f"job {running.name} runs already ({running.id}): `headrace stop {running.name}` ends it")


def _savepoint(path: str) -> str:
    """Returns a URI as it is, and a local folder as an absolute path."""
    if re.match(r"[a-z0-9]+:", path):
        return path
    if not Path(path).exists():
        raise HeadraceError(f"--from-savepoint must name an existing folder, got {path!r}")
    return str(Path(path).absolute())


def _has_left(job: str, savepoint: str) -> bool:
    """Whether the savepoint has state of an operator that the job no longer has, and can do without."""
    metadata = Path(savepoint.removeprefix("file:")) / "_metadata"
    return job in LEFT and metadata.is_file() and LEFT[job] in metadata.read_bytes()


def _command(settings: Settings, submission: Submission, file: Path) -> list[str]:
    options = ["--detached", "--parallelism", str(submission.parallelism or settings.flink.parallelism)]
    options.append(f"-Dstate.backend.type={submission.state_backend or settings.flink.state_backend}")
    if submission.from_savepoint:
        options += ["--fromSavepoint", _savepoint(submission.from_savepoint)]
        some = submission.some_state or _has_left(submission.job, submission.from_savepoint)
        options += ["--allowNonRestoredState"] if some else []
    client = programs.flink_home() / "bin" / "flink"
    return [str(client), "run", *options, "--jarfile", str(paths.job_jar()), "-py", str(file), *submission.arguments]


def _run_client(settings: Settings, command: list[str], submission: Submission) -> str:
    environment = os.environ | {
        "FLINK_CONF_DIR": str(paths.flink_client_conf()),
        "FLINK_LOG_DIR": str(paths.logs()),
        "FLINK_IDENT_STRING": "headrace",
        "HOSTNAME": "local",
    }
    if headers := settings.flink.headers():
        environment["FLINK_REST_CLIENT_HEADERS"] = "\n".join(f"{name}:{value}" for name, value in headers.items())
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    job_id = JOB_ID.search(done.stdout)
    if done.returncode or not job_id:
        full = paths.logs() / f"submit-{submission.run_name}.log"
        full.write_text(done.stdout)
        raise HeadraceError(f"job {submission.job} was not submitted: {_cause(done.stdout)} (all of it: {full})")
    return job_id[1]


def _cause(output: str) -> str:
    """Returns the line that says most: the last Python or Java error in what the client printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    by_rank = (
        [line for line in lines if "Cannot map checkpoint/savepoint state" in line],
        [line for line in errors if not WRAPPER.search(line)],
        errors,
        lines,
    )
    best = next((ranked for ranked in by_rank if ranked), ["the client printed nothing"])
    return best[-1].removeprefix("Caused by: ")
