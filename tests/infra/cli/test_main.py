"""The command answers --help at once, and reports errors in one line without a traceback."""

import os
import subprocess
import sys
from typing import Any

import pytest
import typer

from headrace.infra import paths
from headrace.infra.cli.main import app
from tests.infra.cli.commands import commands

NOWHERE = {
    "HEADRACE_KAFKA__BOOTSTRAP": "127.0.0.1:1",
    "HEADRACE_REDIS__PORT": "1",
    "HEADRACE_FLINK__REST": "127.0.0.1:1",
}
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    program = "import sys, headrace.infra.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "numpy", "kafka", "redis", "pyflink", "pydantic_settings"} & set(loaded)
    shown = headrace("--help").stdout
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


WRONG = {
    "unknown job": (["submit", "nope"], {}, "unknown job 'nope'; known: "),
    "unknown backend": (
        ["submit", "nope", "--state-backend", "x"],
        {},
        "--state-backend must be hashmap or rocksdb, got 'x'",
    ),
    "unknown program": (["logs", "nope"], {}, "unknown program 'nope'"),
    "never ran": (["logs", "kafka"], {}, "kafka has no log"),
    "Kafka away": (["deadletters"], NOWHERE, "no Kafka at 127.0.0.1:1"),
    "Kafka away, resend": (["deadletters", "resend"], NOWHERE, "no Kafka at 127.0.0.1:1"),
    "Redis away": (["session", "u"], NOWHERE, "connecting to localhost:1. Connection refused"),
    "Flink away": (["stop", "session_features"], NOWHERE, "no Flink at 127.0.0.1:1"),
    "Flink away, submit": (["submit", "session_features"], NOWHERE, "no Flink at 127.0.0.1:1"),
    "bad key": (["status"], {"HEADRACE_KAFKA__X": "1"}, "unknown setting kafka.x"),
    "bad value": (["up"], {"HEADRACE_KAFKA__PARTITIONS": "x"}, "setting kafka.partitions"),
    "no local TLS": (["up"], {"HEADRACE_REDIS__TLS": "true"}, "the stack's Redis speaks no TLS"),
    "other broker": (
        ["up"],
        {"HEADRACE_KAFKA__BOOTSTRAP": "elsewhere:9092"},
        "kafka.bootstrap is set to elsewhere:9092",
    ),
}


@pytest.mark.parametrize(("arguments", "environment", "said"), WRONG.values(), ids=WRONG.keys())
def test_an_error_is_one_line(arguments: list[str], environment: dict[str, str], said: str) -> None:
    done = headrace(*arguments, **environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: ")
    assert said in line


def test_debug_shows_the_traceback() -> None:
    done = headrace("logs", "nope", HEADRACE_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_status_of_nothing_is_no_success() -> None:
    done = headrace("status", **NOWHERE)
    assert done.returncode == 1
    assert "the local stack is down" in done.stdout


def test_down_without_a_stack_does_nothing() -> None:
    done = headrace("down")
    assert (done.returncode, done.stdout) == (0, "the stack was not up\n")


def test_down_forget_deletes_what_was_written_and_not_what_was_built() -> None:
    for name in ("kafka", "redis", "flink", "zookeeper", "models", "logs", "env", "jars"):
        (paths.home() / name).mkdir(parents=True)
    assert headrace("down", "--forget", "--yes").returncode == 0
    assert {"env", "jars"} <= {path.name for path in paths.home().iterdir()} <= {"env", "jars", "run"}


def test_down_forget_where_nobody_can_be_asked_deletes_only_with_yes() -> None:
    (kept := paths.home() / "models").mkdir(parents=True)
    done = headrace("down", "--forget")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: --forget deletes topics, Redis")
    assert line.endswith("so add --yes")
    assert kept.is_dir()


def test_old_names_go_on_and_say_the_new_ones() -> None:
    done = headrace("airflow", "--stop")
    assert (done.returncode, done.stdout) == (0, "Airflow was not up\n")
    assert done.stderr == "headrace: `headrace airflow --stop` is called `headrace airflow down` since 0.2.0\n"
    away = headrace("topics", "--replication", "1", **NOWHERE)
    assert (away.returncode, away.stderr.splitlines()[0]) == (
        1,
        "headrace: `headrace topics --replication` is called `headrace topics create --replication` since 0.2.0",
    )


IDS = ("-dash", "-4x", "---1", "-hat", "-n7x", "-", "--a=b", "-ж")  # -h and -n are options


@pytest.mark.parametrize("id_", IDS)
@pytest.mark.parametrize("words", ["{id}", "{id} --json", "--json {id}", "-- {id}", "--json -- {id}"])
def test_an_id_may_begin_with_a_dash(id_: str, words: str) -> None:
    for command in ("session", "recommend"):
        read = parsed(command, *words.format(id=id_).split())
        assert (read["user"], read["as_json"]) == (id_, "--json" in words)


@pytest.mark.parametrize("words", ["-dash -n 3", "-n3 -dash", "--n=3 -dash", "-n 3 -- -dash"])
def test_an_option_keeps_its_value_beside_such_an_id(words: str) -> None:
    read = parsed("recommend", *words.split())
    assert (read["user"], read["n"]) == ("-dash", 3)


def test_such_an_id_reaches_redis() -> None:
    for command in ("session", "recommend"):
        done = headrace(command, "-dash", **NOWHERE)
        assert (done.returncode, "Connection refused" in done.stderr) == (1, True)


@pytest.mark.parametrize("words", ["u --explian", "--explian u", "--explian", "--explain=x", "u -x", "-x u", "-x -y"])
def test_an_option_that_is_none_is_no_id(words: str) -> None:
    with pytest.raises(Exception, match=r"No such option|does not take a value"):
        parsed("recommend", *words.split())


def parsed(command: str, *words: str) -> dict[str, Any]:
    """Returns what the command would be called with."""
    context: dict[str, Any] = dict(commands())[(command,)].make_context(command, list(words)).params
    return context


def test_a_night_of_the_future_is_a_usage_error() -> None:
    done = headrace("retrain", "--date", "2999-01-01")
    assert done.returncode == 2
    assert "today in UTC, got 2999-01-01" in " ".join(done.stderr.split())


def test_an_unknown_command_is_a_usage_error() -> None:
    done = headrace("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr


def test_help_is_quick() -> None:
    before = os.times().children_user
    headrace("--help")
    assert os.times().children_user - before < 0.8  # CPU seconds: the wall clock depends on the neighbours
