"""`headrace package`: what a cluster elsewhere needs."""

from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli.panel import panel

app, command = panel("Ship")


@command()
def package(out: Annotated[Path, typer.Option(help="Where to.")] = Path("dist")) -> None:
    """Make what `flink run` needs on a cluster without this checkout (docs/cluster.md)."""
    from rich.console import Console

    from headrace.infra import environments

    environments.enter("streaming")
    from headrace.infra.launch import package as packing

    packing.package(Console(), out)
