"""`headrace federated`: options are checked first, then the environment, then the job is submitted."""

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from headrace.infra import environments
from headrace.infra.cli import federated
from headrace.infra.cli.main import app
from headrace.infra.clients import flink
from headrace.infra.settings import load


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the list of what a command does before its own work."""
    done: list[str] = []

    def submit(settings: object) -> None:
        done.append("submit")
        raise KeyboardInterrupt

    monkeypatch.setattr(federated, "_enter", lambda module: done.append(f"enter for {module}"))
    monkeypatch.setattr(federated, "_submit", submit)
    return done


@pytest.mark.parametrize("options", [["--nodes", "2"], ["--nods", "5"], ["--rounds", "x"]], ids=" ".join)
def test_a_wrong_option_does_nothing(done: list[str], options: list[str]) -> None:
    assert CliRunner().invoke(app, ["federated", "simulate", *options]).exit_code == 2
    assert done == []


def test_the_job_is_submitted_from_the_environment_that_goes_on(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "headrace.edge.federated.simulation"  # needs Flower
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    CliRunner().invoke(app, ["federated", "simulate", "--nodes", "3"])
    assert done == ["enter for flwr", "submit"]


@pytest.mark.parametrize("status", [0, 1])
def test_the_streaming_environment_submits_the_job_unless_it_runs(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    asked: list[list[str]] = []

    def run(command: list[str]) -> Any:
        asked.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(environments, "ready", lambda name: f"/env/{name}/bin/python")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(flink, "alive", lambda *_: None)
    if status:
        with pytest.raises(typer.Exit) as ended:
            federated._submit(load())
        assert ended.value.exit_code == status
    else:
        federated._submit(load())
    submit = "/env/streaming/bin/python -m headrace submit federated --state-backend rocksdb"
    assert asked == [submit.split()]
    monkeypatch.setattr(flink, "alive", lambda *_: flink.Job("1", "federated", "RUNNING"))
    federated._submit(load())
    assert len(asked) == 1
