"""`headrace doctor` names what is missing together with what to do."""

import importlib

import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.stack import doctor, prerequisites
from headrace.infra.stack.prerequisites import Tool


def test_this_machine_passes() -> None:
    assert [finding for finding in doctor.findings() if not finding.ok] == []


def test_pyflink_runs_its_compiled_path() -> None:
    assert importlib.import_module("pyflink.fn_execution.beam.beam_operations_fast")


def test_a_missing_tool_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "TOOLS", (Tool("no-such-tool", "no-such-package"),))
    monkeypatch.setattr(prerequisites, "_may_install", lambda: False)
    with pytest.raises(HeadraceError, match=r"no-such-tool missing: run `sudo apt-get install no-such-package`"):
        prerequisites.ensure()


def test_an_old_jdk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "jdk_version", lambda: 11)
    with pytest.raises(HeadraceError, match="the JDK must be >= 17, got 11"):
        prerequisites.ensure()
    assert not next(finding for finding in doctor.findings() if finding.name == "jdk").ok


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_DISK_GB", 10**9)
    (disk,) = [finding for finding in doctor.findings() if finding.name == "disk"]
    assert not disk.ok
    assert "HEADRACE_HOME" in disk.said
