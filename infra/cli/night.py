"""`headrace run`, `retrain` and `airflow`: the jobs of the night, the whole of it, and who runs it each night."""

from datetime import datetime
from typing import Annotated

import typer

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    job: Annotated[str, typer.Argument(help="A file of jobs/batch.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="For the job: see --help after its name.")] = None,
) -> None:
    """Run a job of the night, such as `headrace run als --date 2026-01-31`, in the batch environment."""
    from headrace.infra.launch import batch
    from headrace.infra.settings import load

    raise typer.Exit(batch.run(load().spark, job, arguments or []))


@app.command()
def retrain(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The night's last day, UTC; default: yesterday.")
    ] = None,
    models: Annotated[str, typer.Option(help="Of night.models, by commas; default: all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge; publish nothing.")] = False,
) -> None:
    """Run the whole night now: the DAG nightly_retrain, without a scheduler. Exit 1 if it fails or is refused."""
    from headrace.infra.errors import HeadraceError
    from headrace.infra.settings import load
    from headrace.infra.stack import airflow_home

    settings = load()
    wished = [name for name in models.split(",") if name]
    if unknown := set(wished) - set(settings.night.models):
        raise HeadraceError(f"--models must be of night.models, {settings.night.models}, got {', '.join(unknown)}")
    airflow_home.prepare(settings)
    arguments = ["--date", f"{date:%Y-%m-%d}"] if date else []
    arguments += ["--models", models] if wished else []
    raise typer.Exit(airflow_home.run("headrace.dags.retrain", [*arguments, *(["--dry-run"] if dry_run else [])]))


@app.command("airflow")
def start_airflow(stop: Annotated[bool, typer.Option("--stop", help="End what this command started.")] = False) -> None:
    """Start an Airflow here with the project's DAGs, and say where its page is and how to log in."""
    from rich.console import Console

    from headrace.infra.settings import load
    from headrace.infra.stack import airflow

    if stop:
        print("Airflow is down" if airflow.down() else "Airflow was not up")
    else:
        airflow.up(load(), Console())
