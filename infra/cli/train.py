"""`headrace train`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli.data import DataPath, DataSet, clicks_of, file_of
from headrace.infra.cli.mapping_options import Given, with_mapping
from headrace.infra.cli.models import now_ms, serve
from headrace.infra.cli.output import Json, print_json
from headrace.infra.cli.panel import panel

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from rich.console import Console

    from headrace.infra.settings import Als
    from headrace.infra.versions.store import Manifest
    from headrace.jobs.batch.training.local import Quality, Training

app, command = panel("Models")

DAY_MS = 86_400_000


def _setting(name: str, text: str, **limits: Any) -> Any:
    return typer.Option(help=f"{text} Default: night.als.{name}.", **limits)


@command()
@with_mapping
def train(
    dataset: DataSet,
    given: Given,
    path: DataPath = Path("."),
    factors: Annotated[int | None, _setting("factors", "Numbers an item.", min=1)] = None,
    iterations: Annotated[int | None, _setting("iterations", "Of the training.", min=1)] = None,
    alpha: Annotated[float | None, _setting("alpha", "Weight of what a user did against what they did not.")] = None,
    reg: Annotated[float | None, _setting("reg", "Regularisation, before it grows with the history.")] = None,
    unobserved: Annotated[float | None, _setting("unobserved", "Weight of each item a user did nothing with.")] = None,
    half_life_days: Annotated[
        float | None, _setting("half_life_days", "Age at which an event counts half.", max=1e6)
    ] = None,
    rating_max: Annotated[float | None, _setting("rating_max", "The best rating of this shop's scale.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first clicks.")] = None,
    seed: Annotated[int | None, _setting("seed", "The same seed makes the same factors.", min=0)] = None,
    publish: Annotated[bool, typer.Option(help="Serve it at once.")] = True,
    as_json: Json = False,
) -> None:
    """Train item factors on a data set that you have, say how good they are, and publish them as a new version.

    It trains as the night's ALS does, with the settings of [night.als] where no option is given. The version leaves out
    what night.rules leaves out.
    """
    from rich.console import Console

    from headrace.infra.settings import load

    clicks = clicks_of(dataset, path, given)
    asked = {"factors": factors, "iterations": iterations, "alpha": alpha, "reg": reg, "unobserved": unobserved}
    asked |= {"half_life_days": half_life_days, "rating_max": rating_max, "seed": seed}
    settings = load()
    how = _how(settings.night.als.model_copy(update=_only_given(asked)), settings.session.history)
    console = Console(stderr=as_json)  # stdout is for the JSON alone
    lineage = {"dataset": dataset, "file": str(file_of(dataset, path))}
    manifest = _learn(console, islice(clicks, limit), lineage, how, Path(settings.night.rules))
    console.print(f"version {manifest.version}")
    if publish:
        serve(console, manifest.version)
    if as_json:
        described = {"version": manifest.version, "published": publish, **manifest.lineage}
        print_json("train", described | {"quality": manifest.metrics})


def _learn(
    console: "Console", clicks: Iterable[dict[str, Any]], lineage: dict[str, Any], how: "Training", obeyed: Path
) -> "Manifest":
    """Trains twice: without what quality is measured on, then on all. obeyed: the rules."""
    from headrace.infra.versions import rules
    from headrace.jobs.batch.training import local

    log = local.read(clicks)
    console.print(f"{len(log.events.users):,} events, {log.users:,} users, {len(log.items):,} items")
    left_out = rules.of_version(obeyed, log.items)
    local.most_wanted(log, how, left_out)  # what is wrong is said before the training
    with _progress(console, "held out", how.iterations) as advance:
        quality = local.measure(log, how, advance)
    _show_quality(console, quality)
    with _progress(console, "all events", how.iterations) as advance:
        contents = local.train(log, how, advance, left_out)
    return _write(contents, log.users, how, lineage | {"events": len(log.events.users)}, quality)


def _only_given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _how(night: "Als", history: int) -> "Training":
    from headrace.jobs.batch.training.local import Training
    from headrace.udfs.factors import als

    objective = als.ials(night.alpha, night.reg, night.unobserved, night.nu)
    half_life_ms = night.half_life_days * DAY_MS
    return Training(night.factors, night.iterations, objective, half_life_ms, night.rating_max, history, night.seed)


def _write(contents: Any, users: int, how: "Training", lineage: dict[str, Any], quality: "Quality") -> "Manifest":
    from headrace.infra import durable
    from headrace.infra.versions import factor_version, store

    return factor_version.write(
        contents,
        now_ms(),
        quality._asdict(),
        kind="als",
        users=users,
        parameters=how.parameters(),
        lineage=lineage | {"sha256": durable.sha256(Path(lineage["file"])), "commit": store.commit()},
    )


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
