"""The plans of the jobs on `clicks`: one Kafka read, one validation and one history, with any number of sinks."""

import re
import subprocess
import sys

import pytest

from headrace.infra import paths
from headrace.infra.stack import programs

JOBS = paths.PACKAGE / "jobs" / "streaming"


def optimized(job: str) -> str:
    client = programs.flink_home() / "bin" / "flink"
    options = ["-t", "local", "--jarfile", str(paths.job_jar()), "-pyclientexec", sys.executable]
    command = [str(client), "run", *options, "-py", str(JOBS / f"{job}.py"), "--explain"]
    done = subprocess.run(command, cwd=paths.PACKAGE, capture_output=True, text=True)
    plans = re.findall(r"== Optimized Execution Plan ==\n(.*?)(?=\n== |\Z)", done.stdout, re.DOTALL)
    assert plans, done.stdout + done.stderr
    return "\n".join(plans)


@pytest.mark.flink
@pytest.mark.parametrize(
    ("job", "maker", "sinks"),
    [("session_features", "session_json", 4), ("collaborative", "recommend", 2), ("covisitation", "project", 1)],
)
def test_each_record_is_read_checked_and_counted_once(job: str, maker: str, sinks: int) -> None:
    plan = optimized(job)
    assert plan.count("Sink(table=") == sinks
    assert plan.count("TableSourceScan(table=[[default_catalog, default_database, clicks,") == 1
    assert plan.count(f"{maker}(") == 1
    if job != "covisitation":
        assert plan.count("user_history(") == 1
        assert plan.count("Exchange(") == 1


@pytest.mark.flink
def test_the_bandit_reads_each_topic_once_and_keeps_each_state_once() -> None:
    plan = optimized("bandit")
    assert plan.count("Sink(table=") == 4
    for topic in ("impressions", "clicks", "statistics_so_far"):
        assert plan.count(f"TableSourceScan(table=[[default_catalog, default_database, {topic},") == 1, topic
    for once in ("slates(", "arm_sums(", "posterior(", "doubles(", "in_base64("):
        assert plan.count(once) == 1, once
    for state in ("Deduplicate(", "Join(", "GroupAggregate("):
        assert state not in plan


def test_pyflink_runs_its_cython_path() -> None:
    import pyflink.fn_execution.beam.beam_operations_fast  # noqa: F401


@pytest.mark.flink
def test_federated_checks_and_keeps_each_frame_once() -> None:
    plan = optimized("federated")
    assert plan.count("Sink(table=") == 4
    assert plan.count("TableSourceScan(") == 5
    assert plan.count("framed(") == 1
    assert plan.count("intake(") == plan.count("fold(") == plan.count("folded(") == 1
    assert "GroupAggregate(" not in plan
