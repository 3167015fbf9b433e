"""A shop's project: where it is found, and one clear line for each thing that can be wrong with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.settings import load


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, entered; no home is named."""
    monkeypatch.delenv("HEADRACE_HOME")
    assert headrace("init", "shop", cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def headrace(*arguments: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True)


def test_a_project_is_found_from_below_and_its_paths_are_its_own(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(shop / "a" / "b")
    assert paths.project() == shop
    assert paths.home() == shop / ".headrace"
    assert load().night.rules == str(shop / "rules.toml")
    monkeypatch.chdir("/")
    monkeypatch.setenv("HEADRACE_PROJECT", str(shop))
    assert load().night.gates_file == str(shop / "gates.toml")


def test_what_another_file_names_is_relative_to_it(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "deploy").mkdir()
    (shop / "deploy" / "production.toml").write_text('[night]\nlake = "s3a://bucket/lake"\nrules = "strict.toml"\n')
    monkeypatch.setenv("HEADRACE_SETTINGS", str(shop / "deploy" / "production.toml"))
    night = load().night
    assert (night.lake, night.rules) == ("s3a://bucket/lake", str(shop / "deploy" / "strict.toml"))
    assert night.gates_file == str(shop / "gates.toml")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[night]\nruless = 1\n", "unknown setting night.ruless in "),
        ("[nihgt]\n", "unknown setting nihgt in "),
        ("[collaborative]\ncap = 5\n", "is called covisitation.cap since 0.2.0"),
        ("[collaborative]\nversions_kept = 5\n", "is called night.versions_kept since 0.2.0"),
        ("[night\n", "headrace.toml must be TOML: "),
        (
            '[bandit]\nencoder = "udfs.context:SHOPPER"\n',
            "bandit.encoder must be module:NAME, got 'udfs.context:SHOPPER'",
        ),
    ],
)
def test_settings_that_are_wrong_are_one_line(shop: Path, settings: str, said: str) -> None:
    (shop / "headrace.toml").write_text(settings)
    done = headrace("recommend", "ann", cwd=shop)
    assert (done.returncode, done.stderr.count("\n"), "Traceback" in done.stderr) == (1, 1, False), done.stderr
    assert said in done.stderr


def test_a_folder_without_settings_is_no_project(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, variables in ((["--project", "empty"], {}), ([], {"HEADRACE_PROJECT": "empty"})):
        done = headrace(*arguments, "status", cwd=tmp_path, **variables)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "must name a folder with headrace.toml, got 'empty'" in done.stderr


def test_a_project_in_a_project_is_refused_and_one_that_is_there_is_told(shop: Path) -> None:
    inner = headrace("init", "inner", cwd=shop)
    assert (inner.returncode, inner.stderr.count("\n")) == (1, 1)
    assert f"is in the project {shop}, which it would hide" in inner.stderr
    assert not (shop / "inner").exists()
    (shop / "inner").mkdir()
    (shop / "inner" / "headrace.toml").write_text("")
    told = next(line for line in headrace("doctor", cwd=shop / "inner").stdout.splitlines() if " project " in line)
    assert told.startswith("to do")
    assert f"hides the project {shop}" in told


def test_init_overwrites_nothing(shop: Path) -> None:
    (shop / "rules.toml").write_text("# mine\n")
    again = headrace("init", ".", cwd=shop)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "already: `headrace init` overwrites nothing" in again.stderr
    assert (shop / "rules.toml").read_text() == "# mine\n"


def test_a_home_that_cannot_be_written_is_one_line(shop: Path) -> None:
    (shop / "file").write_text("")
    done = headrace("up", cwd=shop, HEADRACE_HOME=str(shop / "file" / "home"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Not a directory" in done.stderr
