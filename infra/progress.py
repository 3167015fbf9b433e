"""Shows the progress of a stream: on a terminal a rich bar with rate and time left, elsewhere a line now and then."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

BAR_EVERY_S, LINE_EVERY_S = 0.2, 5.0


class Meter:
    """A counter with a display. The caller adds to `done`, a plain attribute: a bar update costs more than an event."""

    def __init__(
        self,
        what: str,
        total: int | None,
        stream: TextIO | None = None,
        unit: str = "events",
        share: Callable[[], float] | None = None,
    ) -> None:
        """share: how much is done, from 0 to 1, where nobody knows the total."""
        self.done = 0
        self._what, self._known, self._unit, self._share = what, total, unit, share
        self._stream = stream or sys.stderr
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._bar if self._stream.isatty() else self._lines, daemon=True)

    @property
    def _total(self) -> int | None:
        """The total, or an estimate of it."""
        share = self._share() if self._share and self._known is None else 0.0
        return int(self.done / share) if share else self._known

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self._began_s, 1e-9)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _bar(self) -> None:
        columns = TextColumn(self._what), BarColumn(), MofNCompleteColumn(), _Rate(self._unit), TimeRemainingColumn()
        with Progress(*columns, console=Console(file=self._stream)) as progress:
            task = progress.add_task(self._what, total=self._total)
            self._until_over(BAR_EVERY_S, lambda: self._show(progress, task))

    def _show(self, progress: Progress, task: TaskID) -> None:
        progress.update(task, completed=self.done, total=self._total)

    def _lines(self) -> None:
        self._until_over(LINE_EVERY_S, lambda: print(self._line(), file=self._stream, flush=True))

    def _line(self) -> str:
        rate, total = self.done / self.seconds, self._total
        about = "about " if self._known is None else ""
        rest = f" of {about}{total:,}, {(total - self.done) / rate:,.0f} s left" if total and rate else ""
        return f"{self._what}: {self.done:,}{rest}, {rate:,.0f} {self._unit}/s"

    def _until_over(self, every_s: float, show: Callable[[], None]) -> None:
        while not self._over.wait(every_s):
            show()
        show()


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} {self.unit}/s")
