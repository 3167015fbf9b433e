"""The local stack on its own: it starts, survives each kill, resumes its jobs, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.launch import streaming
from headrace.infra.operate import dead_letters
from headrace.infra.settings import Settings, load
from headrace.infra.stack import ports
from headrace.infra.stack.programs import LOG_NAMES
from headrace.schemas.topics import CLICKS, DEAD_LETTERS

pytestmark = pytest.mark.stack

WAIT_S = 180
# A job with state that needs neither Kafka nor Python workers.
PROBE = """
from pyflink.table import EnvironmentSettings, TableEnvironment

def main():
    table_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    table_env.get_config().set("pipeline.name", "probe")
    table_env.execute_sql(
        "CREATE TABLE numbers (k INT) WITH ('connector'='datagen', 'rows-per-second'='100', 'fields.k.max'='9')")
    table_env.execute_sql("CREATE TABLE nowhere (k INT, n BIGINT) WITH ('connector'='blackhole')")
    table_env.execute_sql("INSERT INTO nowhere SELECT k, COUNT(*) FROM numbers GROUP BY k")

if __name__ == "__main__":
    main()
"""


def headrace(*arguments: str, check: bool = True) -> str:
    done = subprocess.run([sys.executable, "-m", "headrace", *arguments], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout


def status() -> dict[str, Any]:
    return dict(json.loads(headrace("status", "--json", check=False))["data"])


def pids() -> dict[str, int]:
    return {program["name"]: program["pid"] for program in status()["programs"]}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s"
        time.sleep(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Returns the home of a stack that is up."""
    home = tmp_path_factory.mktemp("stack") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_HOME", str(home))
        try:
            headrace("up")
            yield home
        finally:
            headrace("down")


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HEADRACE_HOME", str(home))
    return load()


@pytest.fixture
def probe(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flink.Job:
    """Returns a running job that has completed a checkpoint; the tests share it."""
    (tmp_path / "probe.py").write_text(PROBE)
    monkeypatch.setattr(streaming, "script", lambda job: tmp_path / f"{job}.py")
    if not flink.alive(settings.flink, "probe"):
        streaming.submit(settings, streaming.Submission("probe"))
    # Of a job that it is still setting up, Flink answers 500 to what concerns checkpoints.
    eventually(lambda: flink.named(settings.flink, "probe").state == "RUNNING")
    job = flink.named(settings.flink, "probe")
    eventually(lambda: flink.checkpoints_completed(settings.flink, job) > 0)
    return job


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def marked(home: Path) -> list[psutil.Process]:
    """Returns the processes that this home's `up` started, without asking supervisord."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HEADRACE_SUPERVISED") == str(home):
                found.append(process)
    return found


def resumed(settings: Settings, job: flink.Job, since_ms: int) -> bool:
    """Returns whether the job runs, restored from a checkpoint since then."""
    try:
        detail = flink.get(settings.flink, f"/jobs/{job.id}")
        restored = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")["latest"]["restored"]
    except HeadraceError:
        return False
    anew = restored is not None and restored["restore_timestamp"] > since_ms
    return anew and {vertex["status"] for vertex in detail["vertices"]} == {"RUNNING"}


def test_every_part_is_healthy_and_where_status_says(settings: Settings) -> None:
    found = status()
    assert {program["name"] for program in found["programs"]} == set(LOG_NAMES)
    assert all(program["healthy"] and psutil.pid_exists(program["pid"]) for program in found["programs"])
    assert not any(ports.is_free(program["port"]) for program in found["programs"])
    assert found["addresses"]["kafka"] == settings.kafka.bootstrap
    assert set(found["topics"]) == set(kafka_topics.names())


def test_topics_are_made_to_measure(settings: Settings) -> None:
    with kafka_topics.admin(settings.kafka) as client:
        described = {each["name"]: len(each["partitions"]) for each in client.describe_topics(kafka_topics.names())}
        resources = [ConfigResource("topic", name) for name in kafka_topics.names()]
        configs = client.describe_configs(resources, config_filter="all")["topic"]
    assert described == dict.fromkeys(kafka_topics.names(), settings.kafka.partitions)
    assert {configs[name]["message.timestamp.type"]["value"] for name in kafka_topics.names()} == {"LogAppendTime"}
    assert configs[DEAD_LETTERS]["max.message.bytes"]["value"] == str(kafka_topics.DEAD_LETTER_MAX_BYTES)


def test_up_again_changes_nothing(settings: Settings) -> None:
    before = pids()
    assert "up already" in headrace("up")
    assert pids() == before


def test_prometheus_metrics_are_served(settings: Settings) -> None:
    for port in (settings.stack.jobmanager_metrics_port, settings.stack.taskmanager_metrics_port):
        with urllib.request.urlopen(f"http://{ports.LOCALHOST}:{port}/metrics", timeout=10) as response:
            assert b"flink_" in response.read()


@pytest.mark.parametrize("name", ["redis", "zookeeper", "kafka"])
def test_a_killed_program_comes_back(name: str, settings: Settings) -> None:
    before = pids()[name]
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        (program,) = [each for each in status()["programs"] if each["name"] == name]
        return bool(program["healthy"]) and program["pid"] not in (None, before)

    eventually(back)


@pytest.mark.parametrize("name", ["taskmanager", "jobmanager"])
def test_a_job_outlives_a_kill(name: str, settings: Settings, probe: flink.Job) -> None:
    since_ms = now_ms()
    os.kill(pids()[name], signal.SIGKILL)
    eventually(lambda: resumed(settings, probe, since_ms))


def test_down_ends_all_and_up_resumes_the_jobs(home: Path, settings: Settings, probe: flink.Job) -> None:
    before, since_ms = marked(home), now_ms()
    assert {process.name() for process in before} >= {"java", "redis-server"}
    headrace("down")
    assert not any(process.is_running() for process in before)
    assert marked(home) == []
    # As a refused savepoint leaves it behind: the JobManager would die of it.
    left = home / "flink" / "ha" / "job-result-store" / "headrace" / f"{'0' * 32}_DIRTY.json"
    result = {"id": "0" * 32, "job-status": "FAILED", "accumulator-results": {}, "net-runtime": 0}
    left.write_text(json.dumps({"result": result, "version": 1}))
    headrace("up")
    assert load() == settings
    eventually(lambda: resumed(settings, probe, since_ms))


def test_what_outlives_a_killed_supervisord_is_ended(home: Path, settings: Settings) -> None:
    (supervisord,) = [each for each in marked(home) if "supervisor.supervisord" in each.cmdline()]
    supervisord.kill()
    headrace("down")
    assert marked(home) == []
    headrace("up")


def test_a_second_copy_of_a_job_is_refused(settings: Settings, probe: flink.Job) -> None:
    with pytest.raises(HeadraceError, match=f"job probe runs already \\({probe.id}\\)"):
        streaming.submit(settings, streaming.Submission("probe"))


def test_savepoint_stop_and_start_from_it(settings: Settings, probe: flink.Job) -> None:
    path, since_ms = headrace("stop", "probe", "--savepoint").strip(), now_ms()
    assert flink.alive(settings.flink, "probe") is None
    streaming.submit(
        settings, streaming.Submission("probe", parallelism=2, state_backend="rocksdb", from_savepoint=path)
    )
    resubmitted = flink.named(settings.flink, "probe")
    assert resumed(settings, resubmitted, since_ms)
    vertices = flink.get(settings.flink, f"/jobs/{resubmitted.id}")["vertices"]
    assert max(vertex["parallelism"] for vertex in vertices) == 2


def test_a_wrong_redis_password_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_REDIS__PASSWORD", "wrong")
    command = [sys.executable, "-m", "headrace", "session", "u"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Redis refuses" in line


def _letters(settings: Settings, reasons: list[str]) -> None:
    producer = KafkaProducer(**settings.kafka.client(), max_request_size=kafka_topics.DEAD_LETTER_MAX_BYTES)
    for n, reason in enumerate(reasons):
        headers = {"topic": CLICKS, "partition": "0", "offset": str(n), "reason": reason, "detail": "planted"}
        encoded = [(name, value.encode()) for name, value in headers.items()]
        producer.send(DEAD_LETTERS, key=b"u", value=b"bad %d" % n, headers=encoded)
    producer.send(DEAD_LETTERS, key=b"u", value=b"x" * 1_500_000, headers=[("topic", b"clicks"), ("reason", b"value")])
    producer.close()


def test_dead_letters_are_counted_mended_and_resent_once(settings: Settings) -> None:
    _letters(settings, ["json", "late", "json"])
    kafka = settings.kafka
    assert dead_letters.counts(kafka) == {"json": 2, "late": 1, "value": 1}
    counted = json.loads(headrace("deadletters", "--count", "--json", "--reason", "json"))["data"]
    assert counted == {"counts": {"json": 2}}
    late = json.loads(headrace("deadletters", "--json", "--reason", "late"))["data"]["letters"]
    assert [letter["value"] for letter in late] == ["bad 1"]
    with pytest.raises(HeadraceError, match="--edit failed with 3 on the letter from clicks/0/0"):
        dead_letters.resend(kafka, "json", "exit 3")
    assert dead_letters.preview(kafka, "json", "grep -v 0; true") == (1, 1)
    assert dead_letters.resend(kafka, "json", "sed s/bad/good/") == (2, 0)
    assert dead_letters.resend(kafka, None, "grep -v xxx; true") == (1, 1)
    assert dead_letters.resend(kafka, None, None) == (0, 0)
    sent = [(record.key, record.value) for record in kafka_topics.records(kafka, CLICKS)]
    assert sorted(sent) == [(b"u", b"bad 1"), (b"u", b"good 0"), (b"u", b"good 2")]
