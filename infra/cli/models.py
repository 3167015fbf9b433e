"""`headrace models`, `publish`, `rollback`, `rewards` and `retire`: what serves, and what policies earn."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli import names
from headrace.infra.cli.output import Json, print_json, working
from headrace.infra.cli.panel import panel

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from rich.console import Console

    from headrace.infra.operate.rewards import Earned
    from headrace.infra.versions.store import Pointer

app, command = panel("Models")

Version = Annotated[str, names.argument(names.versions, "As `headrace models` shows it.")]


@command("models")
def list_models(as_json: Json = False) -> None:
    """The versions that are kept; the one that serves is marked."""
    from rich.console import Console

    from headrace.infra.versions import store

    pointer = store.current()
    found = [
        {
            "version": each.version,
            "serves": _mark(pointer, each.version),
            "kind": each.kind,
            "created_ms": each.created_ms,
            **each.dims,
            "metrics": each.metrics,
        }
        for each in store.versions()
    ]
    if as_json:
        print_json("models", found)
    elif found:
        _show_models(found)
    else:
        Console().print(f"none yet in {store.root()}; `headrace train` makes one")


def _show_models(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    whole = Column("version", no_wrap=True, min_width=30)  # to be copied
    table = Table("", whole, "items", "factors", "recall@20", box=None, pad_edge=False)
    for each in found:
        recall = f"{each['metrics']['recall']:.4f}" if "recall" in each["metrics"] else ""
        table.add_row(each["serves"], each["version"], f"{each['items']:,}", str(each.get("factors", "")), recall)
    Console().print(table)


def _mark(pointer: "Pointer | None", version: str) -> str:
    if pointer and version == pointer.version:
        return "current"
    return "previous" if pointer and version == pointer.previous else ""


@command()
def publish(version: Version) -> None:
    """From now on this version serves."""
    from rich.console import Console

    serve(Console(), version)


@command()
def rollback() -> None:
    """The version that served before serves again; a second rollback undoes the first."""
    from rich.console import Console

    from headrace.infra.versions import store

    _project(Console(), store.rollback(now_ms()), with_lists=False)


def serve(console: "Console", version: str) -> None:
    from headrace.infra.versions import store

    _project(console, store.publish(version, now_ms()), with_lists=True)


def _project(console: "Console", pointer: "Pointer", with_lists: bool) -> None:
    """The pointer file is what serves; without Redis its projection waits for the next publication or restore."""
    from redis import RedisError

    from headrace.infra.errors import HeadraceError, describe
    from headrace.infra.settings import load
    from headrace.infra.versions import publication

    console.print(f"{pointer.version} serves (before: {pointer.previous or 'none'})")
    settings = load()
    try:
        with working("writing what readers see to Redis"):
            publication.project(settings, with_lists)
            publication.tidy(settings)
    except (RedisError, OSError, HeadraceError) as error:
        console.print(f"not yet shown in Redis: {describe(error)}; then `headrace publish {pointer.version}` again")
    if said := publication.move_aliases():
        console.print(f"MLflow's aliases did not follow: {said}")


@command()
def rewards(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only impressions of this day, UTC.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What each policy earned per impression, with its 95 % interval over slates."""
    import numpy as np

    from headrace.infra.operate import rewards as product_rewards
    from headrace.infra.settings import load

    records = product_rewards.last(load().kafka)
    if date:
        records = product_rewards.of_day(records, date.date())
    earned = product_rewards.earned(records, np.random.default_rng(1))
    if as_json:
        print_json(rewards.__name__, earned)
    elif earned:
        _show_rewards(earned)
    else:
        print("no impression has come yet (topic rewards)")


def _show_rewards(earned: "list[Earned]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("policy", "slates", "items shown", "reward", "95 %", box=None, pad_edge=False)
    for each in earned:
        interval = f"{each.low:.4f} - {each.high:.4f}"
        table.add_row(each.policy, f"{each.slates:,}", f"{each.impressions:,}", f"{each.reward:.4f}", interval)
    Console().print(table, highlight=False)


@command()
def retire(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them; delete nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Delete the bandit's arms of items that have left the catalogue (docs/bandit.md, "Retired items")."""
    from headrace.infra.operate import retire as retirement
    from headrace.infra.settings import load

    settings = load()
    gone = retirement.resting(settings, now_ms())
    if not dry_run:
        retirement.delete(settings, gone)
    if as_json:
        arms = [{"policy": arm.policy, "item": arm.item} for arm in gone]
        print_json("retire", {"dry_run": dry_run, "arms": arms})
        return
    for arm in gone:
        print(f"{arm.policy}  {arm.item}")
    print(f"{len(gone)} arms {'would be ' if dry_run else ''}retired")


def now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000
