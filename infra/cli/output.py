"""What commands print: JSON for programs, a line that long work has begun, a question before something is deleted.

The JSON of every command is one line, {"version": 1, "command": "models", "data": ...}. The version grows when a field
goes or changes its meaning; new fields may come at any time.
"""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from headrace.infra.errors import HeadraceError

VERSION = 1
PROGRESS_EVERY_S = 10.0  # where nobody looks on
Json = Annotated[
    bool, typer.Option("--json", help='For programs: one line, {"version": 1, "command": ..., "data": ...}.')
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def print_json(command: str, data: Any) -> None:
    print(json.dumps({"version": VERSION, "command": command, "data": _plain(data)}, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON knows no NaN, and a NamedTuple would lose its names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | None) else str(value)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Says on stderr, at once, what takes a while."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        print(what, file=sys.stderr, flush=True)
        yield
        return
    with console.status(what):
        yield


@contextlib.contextmanager
def progress(what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Says on stderr what takes a while, and how far it is: yields what to call with a count, as often as wanted."""
    from rich.console import Console

    console, told_s = Console(stderr=True), time.monotonic()
    print(what, file=sys.stderr, flush=True)

    def line(count: int) -> None:
        nonlocal told_s
        if time.monotonic() >= told_s + PROGRESS_EVERY_S:
            told_s = time.monotonic()
            print(f"{what}: {count:,} {unit}", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield line
        return
    with console.status(what) as status:
        yield lambda count: status.update(f"{what}: {count:,} {unit}")


def renamed(old: str, new: str) -> None:
    print(f"headrace: `{old}` is called `{new}` since 0.2.0", file=sys.stderr)


def confirm(deed: str, *, yes: bool) -> None:
    """Goes on if the user agrees; where nobody can be asked, only with --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise HeadraceError(f"{deed}: nobody can be asked here, so add --yes")
    typer.confirm(f"{deed}. Go on?", abort=True, err=True)
