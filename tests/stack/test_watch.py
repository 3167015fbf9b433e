"""The watch of the stream: it reports what is wrong, and brings a lost job back to its last place."""

import shutil
import time

import pytest

from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from tests.stack import dag_run
from tests.stack.compare import differences, oracle_of
from tests.stack.running import JOB, Failed, Stack, wait
from tests.streams.clicks import DAY_MS, Record, Stream, combined, sweepers
from tests.streams.dirty import ACTIONS, soiled

pytestmark = [pytest.mark.stack, pytest.mark.shop]
EVENTS = 12_000


@pytest.fixture
def watched(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("HEADRACE_WATCH__JOBS", f'["{JOB}"]')
    monkeypatch.setenv("HEADRACE_WATCH__FRESH_MAX_S", "1")
    monkeypatch.setenv("HEADRACE_WATCH__DEAD_SHARE_MAX", "0.5")  # a part of these records is bad on purpose
    shutil.rmtree(stack.home / "watch", ignore_errors=True)
    return stack


def is_well(stack: Stack, *options: str) -> bool:
    """Returns whether all is well; a broker that just started has no coordinator of the job's group yet."""
    try:
        return "TROUBLE" not in stack.run("watch", *options)
    except Failed:
        return False


def lose_every_job(stack: Stack) -> None:
    """Loses the jobs as with a replaced cluster: Flink does not know them any more; their checkpoints are there."""
    stack.run("down")
    for name in ("flink/ha", "zookeeper"):
        shutil.rmtree(stack.home / name)
    stack.run("up", timeout_s=300)
    assert flink.jobs(stack.settings.flink) == []


@dag_run.needed
def test_airflow_brings_a_lost_job_back_to_its_last_checkpoint(watched: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the records before it, half after: nothing is lost or doubled. Red while another job is missing."""
    stream: Stream = combined(list(ACTIONS))[:EVENTS]
    watched.submit("--parallelism", "2", "--state-backend", "rocksdb")
    watched.send(soiled(stream[: EVENTS // 2]))
    wait(lambda: watched.checkpoints() > 0 and watched.consumed() > 0, 120, lambda: "no checkpoint")
    wait(lambda: is_well(watched, "--savepoint"), 30, lambda: "trouble")
    lose_every_job(watched)
    with pytest.raises(Failed, match=f"TROUBLE {JOB} +runs +Flink does not know it"):
        watched.run("watch")
    with monkeypatch.context() as more:
        more.setenv("HEADRACE_WATCH__JOBS", f'["{JOB}", "bandit"]')
        red = dag_run.run("streaming_watch")
    assert red.tasks == {"watch": ["failed", 1]}, red.said
    assert f"{JOB}  revived     from file:" in red.said
    assert "TROUBLE bandit            revived     no checkpoint of it is known" in red.said
    vertices = flink.get(watched.settings.flink, f"/jobs/{watched.job().id}")["vertices"]
    assert max(vertex["parallelism"] for vertex in vertices) == 2
    watched.send(soiled(stream[EVENTS // 2 :]))
    watched.send(sweepers(stream[-1][0] + DAY_MS, watched.settings.kafka.partitions))
    watched.settle()
    oracle = oracle_of(watched.settings)
    assert oracle.at_risk == 0
    different = differences(watched.settings, oracle)
    assert not different, "\n".join(different)
    time.sleep(2)
    green = dag_run.run("streaming_watch")
    assert green.tasks == {"watch": ["success", 1]}, green.said
    assert f"ok      {JOB}  runs        RUNNING" in green.said


@pytest.mark.soak
def test_a_job_that_was_ended_by_hand_stays_so(watched: Stack) -> None:
    watched.submit()
    watched.run("watch")
    watched.run("stop", JOB)
    with pytest.raises(Failed, match=r"runs +CANCELED"):
        watched.run("watch", "--revive")
    with pytest.raises(HeadraceError):
        watched.job()


@pytest.mark.soak
def test_trouble_is_named(watched: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WATCH__DEAD_SHARE_MAX", "0.1")
    watched.submit()
    watched.send([Record(b"u", b"{")] * 100)
    watched.settle()
    with pytest.raises(Failed, match=r"TROUBLE dead letters +share +100 of 100 records"):
        watched.run("watch")
    watched.settings.redis.client().shutdown(nosave=True)
    wait(lambda: bool(watched.settings.redis.client().ping()), 60, lambda: "Redis is away")
