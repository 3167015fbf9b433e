"""`headrace recommend`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli.output import Json, print_json
from headrace.infra.cli.panel import OfAnId, UserId, panel

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from headrace.edge.recommendations import Shown

app, command = panel("Models")

SOURCES = {
    "live": "from what the shopper did in the last half hour",
    "recs": "computed for the shopper when the version was published",
    "place": "the shopper has no list of their own: what most people of the same place or device liked",
    "popular": "the shopper has no list of their own: what most people liked",
}


@command(cls=OfAnId)
def recommend(
    user: UserId,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Items at most.")] = 10,
    without: Annotated[list[str] | None, typer.Option(help="An item not to show; may be repeated.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Why each item is there, how old the list is.")] = False,
    as_json: Json = False,
) -> None:
    """What the recommender would show a user now, as Redis has it."""
    from headrace.edge.recommendations import Recommendations
    from headrace.infra.errors import HeadraceError

    shown = Recommendations.connect(strict=True).for_user(user, n, without=without or ())
    if not shown.version:
        raise HeadraceError("no version is published: `headrace train` makes and publishes one")
    if shown.source == "none":
        rule = f"version {shown.version} has no list in Redis with an item for {user}"
        raise HeadraceError(f"{rule}: `headrace publish {shown.version}` again")
    if as_json:
        print_json("recommend", _as_json(shown))
    else:
        _show(shown, explain)


def _as_json(shown: "Shown") -> dict[str, Any]:
    import msgspec

    told = {"user": shown.user_id, "source": shown.source, "version": shown.version, "as_of_ms": shown.as_of_ms}
    return told | {"stale": shown.stale, "items": msgspec.to_builtins(shown.items)}


def _show(shown: "Shown", explain: bool) -> None:
    import time

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("item", "score", *(["because of"] if explain else []), box=None, pad_edge=False)
    for entry in shown.items:
        table.add_row(escape(entry.item), f"{entry.score:.4f}", *([escape(entry.reason or "")] if explain else []))
    console = Console()
    console.print(table)
    if explain:
        age_s = time.time() - shown.as_of_ms / 1000
        old = " (stale)" if shown.stale else ""
        for line in (
            f"{shown.source}: {SOURCES[shown.source]}",
            f"version {shown.version}, as of {age_s:,.0f} s ago{old}",
        ):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
