"""What the demo shows of its scene: a screen in a terminal, else lines."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from headrace.edge.shoppers.closed_loop import Rate
from headrace.infra.demo.scene import BUCKET_S, YOU, Scene
from headrace.schemas import redis_keys

SHOWN = ("events", "page_views", "interactions", "conversions", "distinct_items", "spend", "duration_h", "recent_items")
HEIGHTS = "▁▂▃▄▅▆▇█"
BUCKETS = 40  # of a sparkline
PERCENT = 100


def say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def lines(scene: Scene, clicks_per_s: float) -> Iterator[str]:
    numbers = {"clicks/s": round(clicks_per_s)} | scene.numbers()
    yield ", ".join(f"{name} {value:,}" for name, value in numbers.items())
    yield f"  {redis_keys.session(YOU)}: " + ", ".join(f"{name} {scene.features.get(name)}" for name in SHOWN)
    yield from (f"  {name} {said}" for name, said in scene.latencies().items())
    yield from (f"  click rate of {name:<13} {rate:<20} {curve}" for name, rate, curve in _rates(scene))


def screen(scene: Scene, clicks_per_s: float) -> Group:
    numbers = {"clicks/s": round(clicks_per_s)} | scene.numbers()
    stream = _pairs({name: f"{value:,}" for name, value in numbers.items()} | scene.latencies())
    rates = Table.grid(padding=(0, 2))
    for row in _rates(scene):
        rates.add_row(*row)
    you, items = _pairs({name: scene.features.get(name, "") for name in SHOWN}), Table.grid(padding=(0, 2))
    for entry in scene.mine.items if scene.mine else ():
        items.add_row(entry.item, f"{entry.score:.3f}", f"because of {entry.reason}" if entry.reason else "")
    version = scene.mine.version if scene.mine else ""
    return Group(
        Panel(stream, title="the stream"),
        Panel(rates, title=f"click rates, 95 % interval, a bar each {BUCKET_S:.0f} s"),
        Panel(you, title=redis_keys.session(YOU)),
        Panel(items, title=redis_keys.live(version, YOU)),
    )


def _pairs(values: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in values.items():
        grid.add_row(name, str(value))
    return grid


def _rates(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Yields (arm, its rate so far, its rate over time). The newest bar is shown when its time is over."""
    by_arm = {name: list(rates) for name, rates in scene.rates.items()}
    bars = {name: rates[:-1][-BUCKETS:] for name, rates in by_arm.items()}
    top = max((rate.mean for rates in bars.values() for rate in rates), default=0.0)
    for name, rates in by_arm.items():
        yield name, _percent(reduce(Rate.merge, rates, Rate())), sparkline(bars[name], top)
    if scene.best.slates:
        yield "who knew all", f"{PERCENT * scene.best.mean:.1f} %", ""


def _percent(rate: Rate) -> str:
    return f"{PERCENT * rate.mean:.1f} % ± {PERCENT * rate.half_width:.1f} of {rate.slates:,} slates"


def sparkline(rates: list[Rate], top: float) -> str:
    """Returns a bar for each rate: `top` has full height, and a space means no slates."""
    heights = (int(rate.mean / top * (len(HEIGHTS) - 1) + 0.5) if top else 0 for rate in rates)
    return "".join(HEIGHTS[height] if rate.slates else " " for rate, height in zip(rates, heights, strict=True))
