"""`headrace deadletters`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli.output import Json, print_json
from headrace.infra.cli.panel import Command, enter_project, group

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from headrace.infra.operate.dead_letters import DeadLetter

app = group("List the newest records that no job could use, or count them by reason; `resend` sends them again.")
Reason = Annotated[
    str | None, typer.Option(help="One of size, json, missing, type, value, future, late, encoder, internal.")
]
SHOWN = 80  # characters of a value


@app.callback(invoke_without_command=True)
def deadletters(
    ctx: typer.Context,
    reason: Reason = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many, by reason.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show this many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    if ctx.invoked_subcommand:
        return
    enter_project()
    from collections import deque

    from headrace.infra.operate import dead_letters
    from headrace.infra.settings import load

    kafka = load().kafka
    if count:
        counts = {name: n for name, n in dead_letters.counts(kafka).items() if reason in (None, name)}
        if as_json:
            print_json("deadletters", {"counts": counts})
        else:
            _show_counts(counts)
        return
    letters = deque(dead_letters.read(kafka, reason), maxlen=limit)
    if as_json:
        print_json("deadletters", {"letters": [_as_json(letter) for letter in letters]})
    else:
        _show_letters(letters)


@app.command(cls=Command)
def resend(
    reason: Reason = None,
    edit: Annotated[
        str | None,
        typer.Option(help="Shell command: it reads a raw value and prints the mended one. No output drops the letter."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Mend and count them; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters to their topics once more; a letter goes once, however often this runs."""
    from headrace.infra.operate import dead_letters
    from headrace.infra.settings import load

    work = dead_letters.preview if dry_run else dead_letters.resend
    sent, dropped = work(load().kafka, reason, edit)
    if as_json:
        print_json("deadletters resend", {"sent": sent, "dropped": dropped, "dry_run": dry_run})
    else:
        print(f"{'would send' if dry_run else 'sent'} {sent}, {'drop' if dry_run else 'dropped'} {dropped}")


def _show_counts(counts: dict[str, int]) -> None:
    for reason, n in counts.items():
        print(f"{n:>9} {reason}")
    print(f"{sum(counts.values()):>9} in all")


def _show_letters(letters: Iterable["DeadLetter"]) -> None:
    for letter in letters:
        value = _text(letter.value or b"")
        shown = value if len(value) <= SHOWN else value[:SHOWN] + "..."
        key = None if letter.key is None else _text(letter.key)
        print(f"{letter.source}  {letter.reason}: {letter.headers.get('detail', '')}  key={key}  {shown!r}")


def _as_json(letter: "DeadLetter") -> dict[str, Any]:
    key = None if letter.key is None else _text(letter.key)
    return {**letter.headers, "key": key, "value": _text(letter.value or b"")}


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
