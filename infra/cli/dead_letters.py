"""`headrace deadletters`."""

from typing import Annotated

import typer

app = typer.Typer(help="Records that no job could use: list them, count them, send them again.")
Reason = Annotated[str | None, typer.Option(help="One of size, json, missing, type, value, future, late, encoder.")]
SHOWN = 80  # characters of a value


@app.callback(invoke_without_command=True)
def deadletters(
    ctx: typer.Context,
    reason: Reason = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many, by reason.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show this many of the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line, with the whole value.")] = False,
) -> None:
    """List the newest dead letters, or count them by reason."""
    if ctx.invoked_subcommand:
        return
    from collections import deque

    from headrace.infra.operate import dead_letters
    from headrace.infra.settings import load

    kafka = load().kafka
    if count:
        _print_counts({name: n for name, n in dead_letters.counts(kafka).items() if reason in (None, name)}, as_json)
        return
    _print_letters(deque(dead_letters.read(kafka, reason), maxlen=limit), as_json)


@app.command()
def resend(
    reason: Reason = None,
    edit: Annotated[
        str | None, typer.Option(help="Shell command: a raw value in, the mended one out; nothing drops it.")
    ] = None,
) -> None:
    """Send dead letters to their topics once more; a letter goes once, however often this runs."""
    from headrace.infra.operate import dead_letters
    from headrace.infra.settings import load

    sent, dropped = dead_letters.resend(load().kafka, reason, edit)
    print(f"sent {sent}, dropped {dropped}")


def _print_counts(counts: dict[str, int], as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps(counts))
        return
    for reason, n in counts.items():
        print(f"{n:>9} {reason}")
    print(f"{sum(counts.values()):>9} in all")


def _print_letters(letters: object, as_json: bool) -> None:
    import json
    from collections.abc import Iterable
    from typing import cast

    from headrace.infra.operate.dead_letters import DeadLetter

    for letter in cast("Iterable[DeadLetter]", letters):
        value = (letter.value or b"").decode(errors="backslashreplace")
        key = None if letter.key is None else letter.key.decode(errors="backslashreplace")
        if as_json:
            print(json.dumps({**letter.headers, "key": key, "value": value}))
        else:
            shown = value if len(value) <= SHOWN else value[:SHOWN] + "..."
            print(f"{letter.source}  {letter.reason}: {letter.headers.get('detail', '')}  key={key}  {shown!r}")
