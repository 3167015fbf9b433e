"""JSON of one shape, a line that long work has begun, a question before something is deleted."""

import io
import json
from typing import NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from headrace.infra.cli import output
from headrace.infra.errors import HeadraceError
from tests.infra.cli.commands import commands


class Arm(NamedTuple):
    item: str
    reward: float


def test_the_envelope_names_its_version_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json("rewards", [Arm("lamp", 0.5), Arm("rug", float("nan"))])
    (line,) = capsys.readouterr().out.splitlines()
    data = [{"item": "lamp", "reward": 0.5}, {"item": "rug", "reward": None}]
    assert json.loads(line) == {"version": 1, "command": "rewards", "data": data}


TABLES = [
    "doctor",
    "settings",
    "status",
    "watch",
    "deadletters",
    "topics",
    "train",
    "models",
    "rewards",
    "retire",
    "recommend",
    "run",
    "retrain",
    "session",
]


@pytest.mark.parametrize("command", TABLES)
def test_where_there_is_a_table_there_is_json(command: str) -> None:
    options = [each for parameter in dict(commands())[command,].params for each in parameter.opts]
    assert "--json" in options


def test_long_work_says_so_and_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with output.working("submitting"):
        assert capsys.readouterr() == ("", "submitting\n")
    assert capsys.readouterr() == ("", "")


def test_nothing_is_deleted_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(HeadraceError, match=r"^this deletes all: nobody can be asked here, so add --yes$"):
        output.confirm("this deletes all", yes=False)
    output.confirm("this deletes all", yes=True)


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_the_user_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    app = typer.Typer()

    @app.command()
    def delete() -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        output.confirm("this deletes all", yes=False)
        print("deleted")

    done = CliRunner().invoke(app, input=answer)
    assert "this deletes all. Go on?" in done.stderr
    assert ("deleted" in done.stdout, done.exit_code) == (agreed, 0 if agreed else 1)
