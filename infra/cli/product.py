"""`headrace demo`, `restore`, `retire`, `rewards`, `topics` and `package`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=0, envvar="DEMO_SECONDS", help="End after this long; by DEMO_SECONDS: in plain lines."),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(envvar="HEADRACE_DATA", help="Folder of online_retail.csv.xz; without it, simulated shoppers."),
    ] = Path("."),
) -> None:
    """Start everything; simulated shoppers click and a bandit learns. Ends by Ctrl-C, and leaves the stack up."""
    from rich.console import Console

    from headrace.infra import environments

    environments.enter("streaming")
    from headrace.infra.demo import run as product_demo

    product_demo.demo(Console(), seconds, data)


@app.command()
def restore(
    job: Annotated[
        str | None, typer.Argument(help="Whose Redis keys; without it, those of every job that runs.")
    ] = None,
) -> None:
    """Write every live key again from the log, after Redis lost it. Each job pauses and then goes on."""
    from rich.console import Console

    from headrace.infra import environments
    from headrace.infra.clients import kafka_topics
    from headrace.infra.operate import restore as product_restore
    from headrace.infra.settings import load
    from headrace.schemas.topics import CLICKS

    environments.enter("streaming")

    console, settings = Console(), load()
    if gone := kafka_topics.bounds(settings.kafka)[0].get(CLICKS):
        console.print(
            f"{gone:,} old clicks have left the topic (kafka.retention_h): what needs them comes back without"
        )
    if product_restore.restore_serving(settings):
        console.print("the version that serves is shown again")
    for name in [job] if job else product_restore.running(settings):
        with console.status(f"replaying {name}"):
            took_s = product_restore.restore(settings, name)
        console.print(f"{name}: Redis is as the log says, after {took_s:.0f} s")


@app.command()
def retire() -> None:
    """Delete the bandit's arms of items that have left the catalogue (docs/bandit.md, "Retired items")."""
    import time

    from headrace.infra.operate import retire as retirement
    from headrace.infra.settings import load

    for arm in (gone := retirement.retire(load(), time.time_ns() // 1_000_000)):
        print(f"{arm.policy}  {arm.item}")
    print(f"{len(gone)} arms retired")


@app.command()
def rewards(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only impressions of this day, UTC.")
    ] = None,
) -> None:
    """What each policy earned per impression, with its 95 % interval over slates."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from headrace.infra.operate import rewards as product_rewards
    from headrace.infra.settings import load

    table = Table("policy", "slates", "items shown", "reward", "95 %", box=None, pad_edge=False)
    records = product_rewards.last(load().kafka)
    if date:
        records = product_rewards.of_day(records, date.date())
    for each in product_rewards.earned(records, np.random.default_rng(1)):
        numbers = (
            f"{each.slates:,}",
            f"{each.impressions:,}",
            f"{each.reward:.4f}",
            f"{each.low:.4f} - {each.high:.4f}",
        )
        table.add_row(each.policy, *numbers)
    Console().print(table if table.row_count else "no impression has come yet (topic rewards)", highlight=False)


@app.command("topics")
def make_topics(
    replication: Annotated[int, typer.Option(min=-1, help="Copies of each; -1: the broker's default.")] = -1,
) -> None:
    """Make the topics that are missing at kafka.bootstrap, as the jobs need them. `up` does it for the local stack."""
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    kafka = load().kafka
    print(f"{kafka.bootstrap}: made {', '.join(kafka_topics.create(kafka, replication)) or 'nothing, all are there'}")


@app.command()
def package(out: Annotated[Path, typer.Option(help="Where to.")] = Path("dist")) -> None:
    """Make what `flink run` needs on a cluster without this checkout (docs/cluster.md)."""
    from rich.console import Console

    from headrace.infra import environments
    from headrace.infra.launch import package as product_package

    environments.enter("streaming")

    product_package.package(Console(), out)
