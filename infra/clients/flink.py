"""Flink's REST API: which jobs run, how they are, and how to end them."""

import itertools
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from headrace.infra.errors import IS_IT_UP, HeadraceError, brief
from headrace.infra.settings import Flink

TIMEOUT_S = 5
POLL_S = 0.3
METRIC_TRIES = 5
LOOP = 3  # failures of one cause, one after the other, that are no chance
NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|\d+")  # ids of attempts, times, ports
ALIVE = ("INITIALIZING", "CREATED", "RUNNING", "FAILING", "RESTARTING", "SUSPENDED", "RECONCILING")


@dataclass(frozen=True)
class Job:
    id: str
    name: str
    state: str
    start_ms: int = 0


def get(flink: Flink, path: str) -> Any:
    """Returns the decoded answer of a GET. Raises HeadraceError if Flink is away or answers with an error."""
    return _call(flink, path)


def _call(flink: Flink, path: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **flink.headers()}
    request = urllib.request.Request(f"{flink.url()}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=flink.tls_context()) as response:
            return json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise HeadraceError(f"Flink at {flink.rest} answered {error.code} to {path}: {_reason(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise HeadraceError(f"no Flink at {flink.rest} ({brief(reason)}): {IS_IT_UP}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """Returns the first line of Flink's message; the rest is a Java stack trace."""
    try:
        messages = json.loads(error.read())["errors"]
    except (ValueError, KeyError, OSError):
        return error.reason
    return next((line for text in messages for line in text.splitlines() if line.strip()), error.reason)


def jobs(flink: Flink) -> list[Job]:
    """Returns the jobs that Flink knows and whose names begin with flink.prefix, here without it, newest first."""
    overview = sorted(get(flink, "/jobs/overview")["jobs"], key=lambda job: -job["start-time"])
    return [
        Job(job["jid"], job["name"].removeprefix(flink.prefix), job["state"], job["start-time"])
        for job in overview
        if job["name"].startswith(flink.prefix)
    ]


def ids(flink: Flink) -> set[str]:
    """Returns the ids of all jobs that Flink knows, also of other shops."""
    return {job["jid"] for job in get(flink, "/jobs/overview")["jobs"]}


def alive(flink: Flink, name: str) -> Job | None:
    """Returns the newest job of the name that has not ended; None if there is none."""
    return next((job for job in jobs(flink) if job.name == name and job.state in ALIVE), None)


def named(flink: Flink, name: str) -> Job:
    """Returns the job of the name that runs. Raises HeadraceError if there is none."""
    job = alive(flink, name)
    if job is None:
        running = [other.name for other in jobs(flink) if other.state in ALIVE]
        raise HeadraceError(f"job {name!r} does not run at {flink.rest}; running: {', '.join(running) or 'none'}")
    return job


def restarts(flink: Flink, job: Job) -> int | None:
    """Returns how often the job restarted; None if the JobManager has no figure. It collects them once it is asked."""
    for _ in range(METRIC_TRIES):
        if metrics := get(flink, f"/jobs/{job.id}/metrics?get=numRestarts"):
            return int(metrics[0]["value"])
        time.sleep(POLL_S)
    return None


def checkpoint_age_s(flink: Flink, job: Job) -> float | None:
    """Returns the seconds since the last checkpoint was completed; None without one."""
    latest = get(flink, f"/jobs/{job.id}/checkpoints")["latest"]["completed"]
    return round(time.time() - latest["latest_ack_timestamp"] / 1000, 1) if latest else None


def checkpoints_completed(flink: Flink, job: Job) -> int:
    return int(get(flink, f"/jobs/{job.id}/checkpoints")["counts"]["completed"])


def uncommitted(flink: Flink, job: Job) -> int:
    """Returns how many transactions Kafka did not let the running attempt commit: their records may be lost."""
    failed = 0
    for vertex in get(flink, f"/jobs/{job.id}")["vertices"]:
        metrics = f"/jobs/{job.id}/vertices/{vertex['id']}/subtasks/metrics"
        names = [each["id"] for each in get(flink, metrics) if each["id"].endswith(".failedCommittables")]
        asked = [get(flink, f"{metrics}?get={quote(name)}&agg=sum") for name in names]
        failed += sum(int(each["sum"]) for found in asked for each in found)
    return failed


class Failure(NamedTuple):
    at_ms: int
    cause: str  # the innermost, in one line


def failures(flink: Flink, job: Job) -> list[Failure]:
    """Returns the job's last failures, the newest first."""
    entries = get(flink, f"/jobs/{job.id}/exceptions")["exceptionHistory"]["entries"]
    return [Failure(entry["timestamp"], _innermost(entry)) for entry in entries]


def _innermost(entry: dict[str, Any]) -> str:
    lines = str(entry["stacktrace"]).splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if not line.startswith(("\t", " "))]
    return next((line for line in reversed(causes) if line.strip()), str(entry["exceptionName"]))


def last_failure(flink: Flink, job: Job) -> str | None:
    """Returns the innermost cause of the job's last failure, in one line; None without a failure."""
    return next((each.cause for each in failures(flink, job)), None)


def repeated(found: list[Failure]) -> list[Failure]:
    """Returns the last failures, as far as they have one cause, if they are LOOP or more; else none.

    found: the newest first. Numbers and ids in a cause may differ.
    """
    alike = list(itertools.takewhile(lambda each: _shape(each.cause) == _shape(found[0].cause), found))
    return alike if len(alike) >= LOOP else []


def _shape(cause: str) -> str:
    return NUMBERS.sub("#", cause)


def wait_running(flink: Flink, job_id: str, timeout_s: float) -> None:
    """Waits until every task of the job runs. Raises HeadraceError if the job ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        detail = get(flink, f"/jobs/{job_id}")
        job = Job(job_id, detail["name"].removeprefix(flink.prefix), detail["state"])
        if all(vertex["status"] in ("RUNNING", "FINISHED") for vertex in detail["vertices"]) and job.state == "RUNNING":
            return
        if job.state == "FINISHED":
            return
        if job.state not in ALIVE:
            raise HeadraceError(f"job {job.name} is {job.state}: {last_failure(flink, job)}")
        if again := repeated(failures(flink, job)):
            raise HeadraceError(
                f"job {job.name} fails again and again, {len(again)} times by now: {again[0].cause}; "
                f"`headrace stop {job.name}` ends it"
            )
        if time.monotonic() > deadline:
            why = last_failure(flink, job) or "its tasks wait for slots: see `headrace status`"
            raise HeadraceError(f"job {job.name} is {job.state} after {timeout_s:.0f} s: {why}")
        time.sleep(POLL_S)


def cancel(flink: Flink, job: Job, timeout_s: float) -> None:
    """Ends the job without a savepoint. Raises HeadraceError if time is up."""
    _call(flink, f"/jobs/{job.id}?mode=cancel", "PATCH")
    deadline = time.monotonic() + timeout_s
    while get(flink, f"/jobs/{job.id}")["state"] in (*ALIVE, "CANCELLING"):
        if time.monotonic() > deadline:
            raise HeadraceError(f"job {job.name} did not end within {timeout_s:.0f} s")
        time.sleep(POLL_S)


def savepoint(flink: Flink, job: Job, timeout_s: float, *, stop: bool) -> str:
    """Takes a savepoint and returns its path; `stop` ends the job with it. Raises HeadraceError if there is none."""
    if stop:
        trigger = _call(flink, f"/jobs/{job.id}/stop", "POST", {"drain": False})["request-id"]
    else:
        trigger = _call(flink, f"/jobs/{job.id}/savepoints", "POST", {"cancel-job": False})["request-id"]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = get(flink, f"/jobs/{job.id}/savepoints/{trigger}")
        if answer["status"]["id"] == "COMPLETED":
            return _location(job, answer["operation"])
        time.sleep(POLL_S)
    raise HeadraceError(f"no savepoint of {job.name} within {timeout_s:.0f} s")


def dispose(flink: Flink, savepoint_path: str) -> None:
    """Asks Flink to delete a savepoint, wherever it is; Flink does so later."""
    _call(flink, "/savepoint-disposal", "POST", {"savepoint-path": savepoint_path})


def _location(job: Job, operation: dict[str, Any]) -> str:
    if "location" in operation:
        return str(operation["location"])
    cause = operation["failure-cause"]
    trace = cause.get("stack-trace", "").splitlines() or [cause.get("class", "unknown cause")]
    raise HeadraceError(f"no savepoint of {job.name}: {trace[0]}")
