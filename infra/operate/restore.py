"""`headrace restore`: writes Redis again from the log, after any loss of it.

The running job is stopped with a savepoint, so that no older value can overtake a newer one. A bounded run of the same
job writes every key from the topic. Then the job goes on from its savepoint. The bandit's keys come from the compacted
topic `statistics` instead, which outlives the impressions.
"""

import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import JOBS, Submission, submit
from headrace.infra.settings import Settings
from headrace.infra.versions import list_files, publication, rules, store
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS

TIMEOUT_S = 6 * 3600.0
STOP_TIMEOUT_S = 120.0
POLL_S = 0.5
BANDIT = "bandit"  # the job


def restore(settings: Settings, job: str) -> float:
    """Restores a job's keys and returns the seconds it took. The job goes on if it ran before, also after a failure.

    Raises HeadraceError if the restoring run fails or takes longer than TIMEOUT_S.
    """
    began_s = time.monotonic()
    with _stopped(settings, job):
        if job == BANDIT:
            _write_posteriors(settings)
        else:
            job_id = submit(settings, Submission(job, arguments=("--redis-only",)))
            _wait_finished(settings, job_id, job)
    return time.monotonic() - began_s


def running(settings: Settings) -> list[str]:
    """Returns the jobs that run now. Raises HeadraceError if there are none."""
    if names := [job for job in JOBS if flink.alive(settings.flink, job)]:
        return names
    raise HeadraceError(f"no job runs: name the one to restore, of {', '.join(JOBS)}")


def restore_serving(settings: Settings) -> bool:
    """Restores the keys of the serving version and the one before it. Returns False if no version is published."""
    pointer = store.current()
    if pointer is None:
        return False
    if pointer.previous:
        list_files.load(settings.redis, pointer.previous, rules.read(Path(settings.night.rules)))
    publication.project(settings)
    return True


def _write_posteriors(settings: Settings) -> None:
    import msgspec

    from headrace.udfs.bandit import arms

    newest: dict[bytes, bytes | None] = {r.key: r.value for r in kafka_topics.records(settings.kafka, STATISTICS)}
    pipeline = settings.redis.client().pipeline(transaction=False)
    for value in filter(None, newest.values()):  # infra/operate/retire.py leaves an empty value
        arm = msgspec.json.decode(value)
        (posterior,) = arms.solve_packed([b64decode(arm["packed"])], settings.bandit.ridge)
        packed: Any = posterior  # redis-py's types know no bytes
        pipeline.hset(redis_keys.bandit(arm["policy"]), arm["arm"], packed)
    pipeline.execute()


@contextmanager
def _stopped(settings: Settings, job: str) -> Iterator[None]:
    running = flink.alive(settings.flink, job)
    if running is None:
        yield
        return
    vertices = flink.get(settings.flink, f"/jobs/{running.id}")["vertices"]
    backend = flink.get(settings.flink, f"/jobs/{running.id}/checkpoints/config")["state_backend"]
    savepoint = flink.savepoint(settings.flink, running, STOP_TIMEOUT_S, stop=True)
    try:
        yield
    finally:
        resumed = Submission(
            job,
            parallelism=max(vertex["parallelism"] for vertex in vertices),
            state_backend="rocksdb" if "RocksDB" in backend else "hashmap",
            from_savepoint=savepoint,
        )
        submit(settings, resumed)


def _wait_finished(settings: Settings, job_id: str, job: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        state = flink.get(settings.flink, f"/jobs/{job_id}")["state"]
        if state == "FINISHED":
            return
        if state not in flink.ALIVE:
            cause = flink.last_failure(settings.flink, flink.Job(job_id, job, state))
            raise HeadraceError(f"the restoring run of {job} is {state}: {cause}")
        time.sleep(POLL_S)
    raise HeadraceError(f"the restoring run of {job} has not ended after {TIMEOUT_S:.0f} s")
