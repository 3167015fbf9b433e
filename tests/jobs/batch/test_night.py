"""What a killed step of a night leaves behind, and when that is removed."""

import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.errors import Refusal
from headrace.jobs.batch import night
from headrace.jobs.batch.night import Night

NIGHT = Night(date(2026, 1, 31))
KILLED = """
import os, sys
from datetime import date
from headrace.jobs.batch.night import Night
with Night(date(2026, 1, 31)).writing(sys.argv[1]) as draft:
    (draft / "parts").mkdir()
    (draft / "parts" / "0").write_text("half")
    os.kill(os.getpid(), 9)
"""


def killed(step: str) -> Path:
    """Leaves the draft of a killed step, an hour after the last write."""
    subprocess.run([sys.executable, "-c", KILLED, step], cwd=paths.PACKAGE, check=False)
    (draft,) = NIGHT.folder.glob(f".{step}-*")
    age(draft)
    return draft


def age(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 3600,) * 2)


def test_a_night_of_the_future_is_refused() -> None:
    today = datetime.now(UTC).date()
    options = night.arguments("")
    assert night.of(options.parse_args([])).date == today - timedelta(days=1)
    assert night.of(options.parse_args(["--date", today.isoformat()])).date == today
    day_after_tomorrow = today + timedelta(days=2)  # whatever the clock does meanwhile
    with pytest.raises(Refusal, match=rf"--date must be at most .* today in UTC, got {day_after_tomorrow}"):
        night.of(options.parse_args(["--date", day_after_tomorrow.isoformat()]))


def test_drafts_in_which_nothing_is_written_any_more_are_swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    dead, living = [killed(step) for step in ("als", "check-refused")], killed("land")
    (living / "parts" / "0").write_text("whole")
    with NIGHT.writing("gate") as folder:
        (folder / "verdict.json").write_text("{}")
    (NIGHT.folder / ".two_tower").mkdir()  # what a training goes on from
    for name in ("gate", ".two_tower"):
        age(NIGHT.folder / name)
    assert night.sweep(time.time() - 7200) == []
    assert sorted(night.sweep(time.time() - 1800)) == sorted(dead)
    assert {path.name for path in NIGHT.folder.iterdir()} == {living.name, "gate", ".two_tower", ".lock"}
