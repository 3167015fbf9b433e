"""The package outside of the checkout: one name, the command, a project, tracker and read SDK after a bare install."""

import zipfile
from pathlib import Path

import pytest

from headrace import __version__
from headrace.infra import paths
from tests import installed
from tests.installed import Installation


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed.wheel(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def bare(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed.install(built, tmp_path_factory.mktemp("bare"))


def test_the_wheel_brings_one_name_and_all_that_the_checkout_has(built: Path) -> None:
    assert installed.top_level(built) == {"headrace"}
    packed = {name for name in zipfile.ZipFile(built).namelist() if name.startswith("headrace/")}
    folders = ("dags", "edge", "infra", "jobs", "schemas", "udfs")
    files = {path for folder in folders for path in (paths.PACKAGE / folder).rglob("*") if path.is_file()}
    files -= set((paths.PACKAGE / "udfs" / "jvm" / "src" / "test").rglob("*"))
    expected = {f"headrace/{path.relative_to(paths.PACKAGE)}" for path in files if "__pycache__" not in path.parts}
    assert packed == expected | {"headrace/__init__.py", "headrace/__main__.py", "headrace/py.typed"}


def test_the_command_works_in_an_empty_folder(bare: Installation) -> None:
    assert bare.run("headrace", "--version").stdout == f"headrace {__version__}\n"
    shown = bare.run("headrace", "--help")
    assert shown.returncode == 0
    assert "submit" in shown.stdout
    lost = bare.run("headrace", "status")
    assert lost.returncode == 1
    assert lost.stderr.count("\n") == 1
    assert "no headrace.toml in" in lost.stderr
    assert "`headrace init DIR` makes a project" in lost.stderr


def test_settings_that_are_named_need_no_project(bare: Installation) -> None:
    (bare.folder / "own.toml").write_text('[kafka]\nbootstrap = "localhost:1"\n')
    done = bare.run("headrace", "topics", "create", HEADRACE_SETTINGS="own.toml")
    assert done.returncode == 1
    assert "Kafka" in done.stderr


def test_a_project_is_made_and_examined(bare: Installation) -> None:
    made = bare.run("headrace", "init", "project")
    assert made.returncode == 0, made.stderr
    (bare.folder / "project" / "deeper").mkdir()
    examined = bare.run("headrace", "--project", "project", "doctor")
    lines = dict(line[7:].split(maxsplit=1) for line in examined.stdout.splitlines())
    wrong = {line.split()[2] for line in examined.stdout.splitlines() if line.startswith("to do")}
    assert wrong <= {"streaming", "jars", "disk", "memory"}  # what `install` and `up` make, and a small machine's
    assert "`headrace install streaming` makes it" in lines["streaming"]
    assert lines["night.rules"] == str(bare.folder / "project" / "rules.toml")
    needed = bare.run("headrace", "--project", "project", "up")
    assert (needed.returncode, needed.stderr.count("\n")) == (1, 1)
    assert "`headrace install streaming` makes it" in needed.stderr


SDK = """
import sys
from pathlib import Path
from headrace import Recommendations, Tracker
from headrace.edge.tracker import DEFAULT
tracker = Tracker({"bootstrap_servers": ["localhost:1"]}, Path("spool"), limits=DEFAULT._replace(close_s=0.1))
tracker.track("ann", "lamp", "view")
tracker.close()
outside = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None) and CHECKOUT in m.__file__]
assert not outside, outside
"""


def test_tracker_and_read_sdk_import_after_a_bare_install(bare: Installation) -> None:
    code = SDK.replace("CHECKOUT", repr(str(paths.PACKAGE)))
    done = bare.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert any((bare.folder / "spool").rglob("*"))
