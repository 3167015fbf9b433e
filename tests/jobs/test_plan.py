"""The plan of session_features: one Kafka read, one validation and one history, however many sinks there are."""

import subprocess
import sys

import pytest

from infra import places
from infra.stack import programs

JOB = places.CHECKOUT / "jobs" / "streaming" / "session_features.py"


@pytest.mark.flink
def test_each_record_is_read_validated_and_counted_once() -> None:
    client = programs.flink_home() / "bin" / "flink"
    options = ["-t", "local", "--jarfile", str(places.job_jar()), "-pyclientexec", sys.executable]
    command = [str(client), "run", *options, "-py", str(JOB), "--explain"]
    done = subprocess.run(command, cwd=places.CHECKOUT, capture_output=True, text=True)
    assert "== Optimized Execution Plan ==" in done.stdout, done.stdout + done.stderr
    plan = done.stdout.partition("== Optimized Execution Plan ==")[2]
    assert plan.count("Sink(table=") == 3
    assert plan.count("TableSourceScan(") == 1
    assert plan.count("checked(") == 1
    assert plan.count("project(") == 1
    assert plan.count("user_history(") == 1
    assert plan.count("Exchange(") == 1


def test_pyflink_runs_its_cython_path() -> None:
    import pyflink.fn_execution.beam.beam_operations_fast  # noqa: F401
