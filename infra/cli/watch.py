"""`headrace watch`."""

from typing import Annotated

import typer

from headrace.infra.errors import REFUSED

app = typer.Typer()


@app.command()
def watch(
    revive: Annotated[
        bool, typer.Option("--revive", help="Bring back jobs that failed or are gone, from their last checkpoint.")
    ] = False,
    savepoint: Annotated[
        bool, typer.Option("--savepoint", help="Take a savepoint of each job, and drop the oldest.")
    ] = False,
    tell: Annotated[bool, typer.Option("--tell", help="Tell alerts.webhook what is new since the last time.")] = False,
) -> None:
    """Whether the stream is well: each job of watch.jobs, dead letters, Redis. Exit 3 if not."""
    from headrace.infra import paths
    from headrace.infra.clients import webhook
    from headrace.infra.operate import revive as revival
    from headrace.infra.operate import watch as product_watch
    from headrace.infra.settings import load

    settings = load()
    found = revival.care(settings, revive, savepoint) + product_watch.findings(settings)
    for each in found:
        print(f"{'ok' if each.ok else 'TROUBLE':<8}{each.about:<18}{each.check:<12}{each.said}")
    if tell:
        news = {f"{each.about} {each.check}": each.said for each in found if not each.ok or each.check == "revived"}
        webhook.send_news(settings.alerts, paths.home() / "watch" / "told", news)
    raise typer.Exit(0 if all(each.ok for each in found) else REFUSED)
