"""`headrace run`: the jobs of the night."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    job: Annotated[str, typer.Argument(help="A file of jobs/batch.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="For the job: see --help after its name.")] = None,
) -> None:
    """Run a job of the night, such as `headrace run als --date 2026-01-31`, in the batch environment."""
    from infra import batch
    from infra.settings import load

    raise typer.Exit(batch.run(load().spark, job, arguments or []))
