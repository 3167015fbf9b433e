"""`headrace train`, `models`, `publish` and `rollback`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from rich.console import Console

    from headrace.infra.versions.store import Manifest, Pointer
    from headrace.jobs.batch.training.local import Quality, Training

app = typer.Typer()

DAY_MS = 86_400_000
Version = Annotated[str, typer.Argument(help="As `headrace models` shows it.")]


@app.command()
def train(
    dataset: Annotated[str, typer.Argument(help="online-retail, yoochoose or movielens.")],
    path: Annotated[Path, typer.Argument(envvar="HEADRACE_DATA", help="Its file, or a folder that holds it.")] = Path(
        "."
    ),
    factors: Annotated[int, typer.Option(min=1, help="Numbers per item.")] = 64,
    iterations: Annotated[int, typer.Option(min=1)] = 10,
    alpha: Annotated[float, typer.Option(help="Weight of what a user did against what they did not.")] = 1.0,
    reg: Annotated[float, typer.Option(help="Regularisation, before it grows with the history.")] = 0.01,
    unobserved: Annotated[float, typer.Option(help="Weight of each item a user did nothing with.")] = 1.0,
    half_life_days: Annotated[float, typer.Option(max=1e6, help="Age at which an event counts half.")] = 90.0,
    rating_max: Annotated[float, typer.Option(help="The best rating of this shop's scale.")] = 5.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first clicks.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    publish: Annotated[bool, typer.Option(help="Serve it at once.")] = True,
) -> None:
    """Train item factors on a data set that you have, say how good they are, and publish them as a new version."""
    from itertools import islice

    from rich.console import Console

    from headrace.edge import datasets
    from headrace.infra.settings import load
    from headrace.jobs.batch.training import local
    from headrace.udfs.factors import als

    console, history = Console(), load().session.history
    objective = als.ials(alpha, reg, unobserved)
    how = local.Training(factors, iterations, objective, half_life_days * DAY_MS, rating_max, history, seed)
    file = datasets.find(dataset, path)
    log = local.read(islice(datasets.open_dataset(dataset, path), limit))
    console.print(f"{len(log.events.users):,} events, {log.users:,} users, {len(log.items):,} items")
    with _progress(console, "held out", iterations) as advance:
        quality = local.measure(log, how, advance)
    _show_quality(console, quality)
    with _progress(console, "all events", iterations) as advance:
        contents = local.train(log, how, advance)
    lineage = {"dataset": dataset, "file": str(file), "events": len(log.events.users)}
    written = _write(contents, log.users, how, lineage, quality)
    console.print(f"version {written.version}")
    if publish:
        _publish(console, written.version)


def _write(contents: Any, users: int, how: "Training", lineage: dict[str, Any], quality: "Quality") -> "Manifest":
    from headrace.infra import durable
    from headrace.infra.versions import store

    created_ms = _now_ms()
    return store.write(
        contents,
        version=store.name("als", created_ms, contents),
        kind="als",
        users=users,
        parameters=how.parameters(),
        lineage=lineage | {"sha256": durable.sha256(Path(lineage["file"]))},
        metrics=quality._asdict(),
        created_ms=created_ms,
        commit=store.commit(),
    )


@app.command("models")
def list_models() -> None:
    """The versions that are kept; the one that serves is marked."""
    from rich.console import Console
    from rich.table import Column, Table

    from headrace.infra.versions import store

    pointer = store.current()
    whole = Column("version", no_wrap=True, min_width=30)  # to be copied
    table = Table("", whole, "items", "factors", "recall@20", box=None, pad_edge=False)
    for each in store.versions():
        mark = _mark(pointer, each.version)
        recall = f"{each.metrics['recall']:.4f}" if "recall" in each.metrics else ""
        table.add_row(mark, each.version, f"{each.dims['items']:,}", str(each.dims["factors"]), recall)
    Console().print(table if table.row_count else f"none yet in {store.root()}; `headrace train` makes one")


def _mark(pointer: "Pointer | None", version: str) -> str:
    if pointer and version == pointer.version:
        return "current"
    return "previous" if pointer and version == pointer.previous else ""


@app.command()
def publish(version: Version) -> None:
    """From now on this version serves."""
    from rich.console import Console

    _publish(Console(), version)


@app.command()
def rollback() -> None:
    """The version that served before serves again; a second rollback undoes the first."""
    from rich.console import Console

    from headrace.infra.versions import store

    _project(Console(), store.rollback(_now_ms()), with_lists=False)


def _publish(console: "Console", version: str) -> None:
    from headrace.infra.versions import store

    _project(console, store.publish(version, _now_ms()), with_lists=True)


def _project(console: "Console", pointer: "Pointer", with_lists: bool) -> None:
    """The pointer file is what serves; without Redis its projection waits for the next publication or restore."""
    from redis import RedisError

    from headrace.infra.errors import describe
    from headrace.infra.settings import load
    from headrace.infra.versions import publication

    console.print(f"{pointer.version} serves (before: {pointer.previous or 'none'})")
    settings = load()
    try:
        publication.project(settings, with_lists)
        publication.tidy(settings)
    except (RedisError, OSError) as error:
        console.print(f"not yet shown in Redis: {describe(error)}; then `headrace publish {pointer.version}` again")
    if said := publication.move_aliases():
        console.print(f"MLflow's aliases did not follow: {said}")


def _show_quality(console: "Console", quality: "Quality") -> None:
    from rich.table import Table

    table = Table(f"{quality.users:,} users", "recall@20", "NDCG@20", box=None, pad_edge=False)
    table.add_row("this model", f"{quality.recall:.4f}", f"{quality.ndcg:.4f}")
    table.add_row("popularity", f"{quality.popular_recall:.4f}", f"{quality.popular_ndcg:.4f}")
    console.print(table)


@contextmanager
def _progress(console: "Console", what: str, total: int) -> Iterator[Callable[[], None]]:
    from rich.progress import Progress

    with Progress(console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000
