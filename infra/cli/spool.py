"""`headrace spool`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.infra.cli.output import Json, print_json, working
from headrace.infra.cli.panel import Command, enter_project, group
from headrace.infra.errors import HeadraceError

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from headrace.edge.spool import Waiting
    from headrace.infra.operate.watch import WatchFinding

app = group(
    "List the events of this machine's trackers that Kafka does not have yet; `drain` sends those of dead ones."
)
Folder = Annotated[Path | None, typer.Option(help="The trackers' folder, if not the spool of this project.")]


@app.callback(invoke_without_command=True)
def spool(ctx: typer.Context, folder: Folder = None, as_json: Json = False) -> None:
    if ctx.invoked_subcommand:
        return
    enter_project()
    from headrace.edge.spool import own_root, waiting

    root = folder or own_root()
    found = waiting(root)
    if as_json:
        print_json("spool", found)
        return
    for each in found:
        print(f"{each.unsent_bytes:>13,} bytes  {'dead' if each.orphaned else 'alive':<6}{each.folder}")
    if not found:
        print(f"no tracker has a spool in {root}")


@app.command(cls=Command)
def drain(
    folder: Folder = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds; what is left stays.")] = 600,
    as_json: Json = False,
) -> None:
    """Send what dead processes left, in order; a tracker that runs on the folder does so by itself."""
    from headrace.edge.spool import own_root
    from headrace.edge.tracker import Tracker
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    settings, root = load(), folder or own_root()
    with kafka_topics.admin(settings.kafka), working(f"sending what waits in {root}"):
        tracker = Tracker(settings.kafka.client(), root, gap_ms=None)
        done = tracker.drain(timeout_s)
        health, sent = tracker.health(), tracker.counters().recovered
        tracker.close()
    if not done:
        why = health.error or f"the {timeout_s:g} s of --timeout are over"
        raise HeadraceError(f"{sent:,} events sent, {health.waiting_bytes:,} bytes still wait in {root}: {why}")
    if as_json:
        print_json("spool drain", {"sent": sent})
    else:
        print(f"{sent:,} events sent")


def finding() -> "WatchFinding":
    """Whether events of dead processes wait on this machine."""
    from headrace.edge.spool import own_root, waiting
    from headrace.infra.errors import describe
    from headrace.infra.operate.watch import WatchFinding

    try:
        dead = [each for each in waiting(own_root()) if each.orphaned and each.unsent_bytes]
    except OSError as error:
        return WatchFinding("spool", "orphans", False, describe(error))
    return WatchFinding("spool", "orphans", not dead, _said(dead))


def _said(dead: list["Waiting"]) -> str:
    if not dead:
        return "none on this machine"
    waiting_bytes = sum(each.unsent_bytes for each in dead)
    return f"{waiting_bytes:,} bytes of {len(dead)} dead trackers: `headrace spool drain` sends them"
