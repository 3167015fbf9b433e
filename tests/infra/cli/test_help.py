"""The help of every command: panels, -h, nothing swallowed, and names from where they are declared."""

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from headrace.edge.datasets import DATASETS
from headrace.infra import environments
from headrace.infra.cli.main import app
from headrace.infra.launch import batch, streaming
from headrace.infra.stack.programs import LOG_NAMES
from tests.infra.cli.commands import Path, commands

EVERY = dict(commands())
SECTION = re.compile(r"\[[a-z][a-z_.]*\]")  # such as [night.als]
PANELS = {
    "Stack": "init install doctor settings up down status logs",
    "Stream": "submit stop savepoint watch restore deadletters topics spool",
    "Models": "train models publish rollback rewards retire recommend",
    "Night": "run retrain airflow",
    "Data": "import replay simulate session demo",
    "Federated": "federated",
    "Ship": "package",
}


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def words(text: str) -> str:
    return " ".join(text.split())


def test_each_command_is_in_its_panel() -> None:
    found: dict[str, list[str]] = {}
    for line in shown("-h").splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            panel = found.setdefault(heading[1], [])
        elif command := re.match(r"  ([a-z]+)\s", line):
            panel.append(command[1])
    del found["Options"]
    assert {panel: " ".join(names) for panel, names in found.items()} == PANELS


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_h_is_help(path: Path) -> None:
    help_ = shown(*path, "-h")
    assert help_ == shown(*path, "--help")
    assert help_.startswith(f"Usage: root {' '.join(path)}")
    assert "-h, --help" in help_


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_no_bracketed_word_is_swallowed(path: Path) -> None:
    command = EVERY[path]
    written = [command.callback.__doc__, *(getattr(parameter, "help", None) for parameter in command.params)]
    sections = {section for text in written if text for section in SECTION.findall(text)}
    assert {section for section in sections if section not in shown(*path, "-h")} == set()


def test_there_are_bracketed_words_to_swallow() -> None:
    assert "[federated]" in shown("federated", "coordinator", "-h")
    assert "[night.als]" in shown("train", "-h")


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_placeholder_is_filled(path: Path) -> None:
    assert not re.search(r"\{[a-z_]+\}", shown(*path, "-h").partition("\n")[2])


def test_names_are_those_that_are_declared() -> None:
    assert ", ".join(streaming.JOBS) in words(shown("submit", "-h"))
    assert ", ".join(DATASETS) in words(shown("train", "-h"))
    assert ", ".join(environments.MARKS) in words(shown("install", "-h"))
    assert ", ".join(LOG_NAMES) in words(shown("logs", "-h"))


@pytest.mark.parametrize("arguments", [["run"], ["run", "-h"]], ids=" ".join)
def test_run_lists_its_steps_without_any_environment(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    listed = words(shown(*arguments))
    assert [step.name for step in batch.STEPS if f"{step.name} {step.about}" not in listed] == []


COMPLETED = {
    "submit co": ["collaborative", "covisitation"],
    "stop ba": ["bandit"],
    "train mov": ["movielens"],
    "replay y": ["yoochoose"],
    "run co": ["compact"],
    "install e": ["edge"],
    "retrain --models tw": ["two_tower"],
    "logs ka": ["kafka"],
    "topics cr": ["create"],
}


@pytest.mark.parametrize(("typed", "offered"), COMPLETED.items(), ids=COMPLETED)
def test_a_shell_completes(typed: str, offered: list[str]) -> None:
    words = f"headrace {typed}"
    asked = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-m", "headrace"], env=os.environ | asked, capture_output=True, text=True)
    assert done.stdout.split() == offered


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in shown("--help")
