"""One night: a folder per date, in which each step leaves its result whole or not at all.

    {home}/nights/{date}/{step}/      such as 2026-01-31/als/

A step writes a draft beside its place, syncs it and renames it. A result that is there is left as it is, so a rerun of
a night changes nothing; --again repeats a step. A night of date D takes the events of all days up to and including D,
UTC.
"""

import argparse
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from headrace.infra import durable, paths
from headrace.infra.errors import REFUSED, HeadraceError, Refusal
from headrace.jobs.batch import failures

DAY_MS = 86_400_000


class Night(NamedTuple):
    date: date
    again: bool = False  # repeat a step whose result is there

    @property
    def folder(self) -> Path:
        return paths.home() / "nights" / self.date.isoformat()

    @property
    def end_ms(self) -> int:
        """Returns the first millisecond after the night's events."""
        return int(datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC).timestamp() * 1000) + DAY_MS

    def is_done(self, step: str) -> bool:
        return not self.again and (self.folder / step).is_dir()

    def is_left(self, step: str, at: object = None) -> bool:
        """Returns whether a step is done and so left as it is, and prints it. at: where the result is."""
        if done := self.is_done(step):
            print(f"{step} of {self.date} is done: {at or self.folder / step}; --again repeats it")
        return done

    def result(self, step: str) -> Path:
        """Returns the folder of a step that is done. Raises HeadraceError if it is not."""
        path = self.folder / step
        if not path.is_dir():
            raise HeadraceError(f"night {self.date} has no {step} in {path}: `headrace run {step} --date {self.date}`")
        return path

    @contextmanager
    def writing(self, step: str) -> Iterator[Path]:
        """Yields a folder to fill, which gets the step's name if nothing raises. Of two at once the last one stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{step}-", dir=self.folder))
        try:
            yield draft
            for path in [*draft.rglob("*"), draft]:
                durable.sync(path)
            draft.chmod(0o755)
            with durable.locked(self.folder):
                _replace(draft, self.folder / step)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _replace(draft: Path, place: Path) -> None:
    """Renames the draft to its place. A folder cannot replace another, so for a moment there is none."""
    if place.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=place.parent))
        os.rename(place, aside / place.name)
        draft.rename(place)
        shutil.rmtree(aside)
    else:
        draft.rename(place)
    durable.sync(place.parent)


def sweep(before_s: float) -> list[Path]:
    """Removes drafts of killed steps in which nothing was written since before_s, and returns them."""
    drafts = (path for path in (paths.home() / "nights").glob("*/.*-*") if path.is_dir())
    dead = [draft for draft in drafts if _written_s(draft) < before_s]
    for draft in dead:
        shutil.rmtree(draft, ignore_errors=True)
    return dead


def _written_s(draft: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (draft, *draft.rglob("*")))
    except FileNotFoundError:  # it became a result just now
        return math.inf


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that every step has; `of` reads them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--date", type=date.fromisoformat, help="the night's last day, UTC (yesterday)", metavar="D")
    parser.add_argument("--again", action="store_true", help="repeat a step whose result is there")
    return parser


def of(options: argparse.Namespace) -> Night:
    """Returns the night that the options name; yesterday's by default. Raises Refusal for a day that has not begun."""
    today = datetime.now(UTC).date()
    night = Night(options.date or today - timedelta(days=1), options.again)
    if night.date > today:
        raise Refusal(f"--date must be at most {today}, which is today in UTC, got {night.date}")
    return night


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Runs a job. An error becomes a line on stderr and exit status 1, a refusal 3; HEADRACE_DEBUG=1 shows where.

    argparse ends with 2.
    """
    parser.prog = f"headrace run {Path(main.__code__.co_filename).stem}"
    options = parser.parse_args()
    try:
        _importable(main)(options)
    except Refusal as refusal:
        print(f"headrace: {refusal}", file=sys.stderr)
        raise SystemExit(REFUSED) from None
    except Exception as error:
        if os.environ.get("HEADRACE_DEBUG"):
            raise
        print(f"headrace: {failures.cause(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def _importable(main: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """Returns the job's main from a module that Spark's workers can import; `__main__` is another program there."""
    if main.__module__ != "__main__":
        return main
    job = import_module(f"headrace.jobs.batch.{Path(main.__code__.co_filename).stem}")
    return cast(Callable[[argparse.Namespace], None], job.main)
