"""One night: a folder a date, in which each step leaves its result whole or not at all.

    {home}/nights/{date}/{step}/      such as 2026-01-31/als/

A step writes a draft beside its place, synced and renamed. What is there already is left as it is, so a rerun of a
night changes nothing; --again makes a step anew. A night of date D takes the events of all days up to and with D, UTC.
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
    again: bool = False  # make a step anew whose result is there

    @property
    def folder(self) -> Path:
        return paths.home() / "nights" / self.date.isoformat()

    @property
    def end_ms(self) -> int:
        """The first millisecond after the night's events."""
        return int(datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC).timestamp() * 1000) + DAY_MS

    def is_done(self, step: str) -> bool:
        return not self.again and (self.folder / step).is_dir()

    def is_left(self, step: str, at: object = None) -> bool:
        """Whether a step is done and so left as it is; then it says so. at: where its result is to be looked for."""
        if done := self.is_done(step):
            print(f"{step} of {self.date} is done: {at or self.folder / step}; --again makes it anew")
        return done

    def result(self, step: str) -> Path:
        """The folder of a step that is done; HeadraceError if it is not."""
        path = self.folder / step
        if not path.is_dir():
            raise HeadraceError(f"night {self.date} has no {step} in {path}: `headrace run {step} --date {self.date}`")
        return path

    @contextmanager
    def writing(self, step: str) -> Iterator[Path]:
        """A folder to fill; it gets the step's name if all goes well. Of two at once, the last to end stands."""
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
    """A folder cannot be renamed over another: the old one steps aside first, and for a moment there is none."""
    if place.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=place.parent))
        os.rename(place, aside / place.name)
        draft.rename(place)
        shutil.rmtree(aside)
    else:
        draft.rename(place)
    durable.sync(place.parent)


def sweep(before_s: float) -> list[Path]:
    """Drafts of steps that were killed, in which nothing was written since then; they go."""
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
    """The options that every step has; `of` reads them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--date", type=date.fromisoformat, help="the night's last day, UTC (yesterday)", metavar="D")
    parser.add_argument("--again", action="store_true", help="make the result anew")
    return parser


def of(options: argparse.Namespace) -> Night:
    return Night(options.date or datetime.now(UTC).date() - timedelta(days=1), options.again)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """The one place where what ends a job becomes a line on stderr and an exit status; HEADRACE_DEBUG=1 shows where.

    1: it failed. 3: it refused, and said why. argparse's own is 2.
    """
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
    """The job's main by the name under which Spark's workers can import it: a program is `__main__` to itself alone."""
    if main.__module__ != "__main__":
        return main
    job = import_module(f"headrace.jobs.batch.{Path(main.__code__.co_filename).stem}")
    return cast(Callable[[argparse.Namespace], None], job.main)
