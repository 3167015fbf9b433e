"""`headrace topics`: what there is in Kafka, and the topics that are missing."""

from typing import Annotated, Any

import typer

from headrace.infra.cli.output import Json, print_json, renamed
from headrace.infra.cli.panel import Command, enter_project, group

app = group("The topics at kafka.bootstrap, with partitions and records; `create` makes those that are missing.")
Replication = Annotated[int, typer.Option(min=-1, help="Copies of each; -1: the broker's default.")]


@app.callback(invoke_without_command=True)
def topics(
    ctx: typer.Context,
    as_json: Json = False,
    replication: Annotated[int | None, typer.Option(min=-1, hidden=True)] = None,
) -> None:
    if ctx.invoked_subcommand:
        return
    enter_project()
    if replication is not None:
        renamed("headrace topics --replication", "headrace topics create --replication")
        create(replication)
        return
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    found = kafka_topics.listed(load().kafka)
    if as_json:
        print_json("topics", found)
    else:
        _show(found)


def _show(found: list[Any]) -> None:
    print(f"{'topic':<16}{'partitions':>10}{'records':>14}")
    for each in found:
        size = (
            f"{each.partitions:>10}{each.records:>14,}"
            if each.partitions
            else f"{'missing: `headrace topics create`':>34}"
        )
        print(f"{each.name:<16}{size}")


@app.command(cls=Command)
def create(replication: Replication = -1) -> None:
    """Make the topics that are missing at kafka.bootstrap, as the jobs need them. `up` does it for the local stack."""
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    kafka = load().kafka
    print(f"{kafka.bootstrap}: made {', '.join(kafka_topics.create(kafka, replication)) or 'nothing, all are there'}")
