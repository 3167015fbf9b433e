"""`headrace run`, `retrain` and `airflow`: a step of the night, the whole of it, and who runs it each night."""

import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli import names
from headrace.infra.cli.output import Json, print_json, renamed
from headrace.infra.cli.panel import Anywhere, Command, enter_project, group, panel
from headrace.infra.errors import REFUSED, HeadraceError

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from headrace.infra.launch.retrain import StepReport

app, command = panel("Night")
airflow = group("An Airflow of this machine with the project's DAGs: `up` starts it, `down` ends it.")
OUTCOMES = {0: "done", REFUSED: "refused"}


class Steps(Anywhere):
    """Its help lists the steps, and needs neither a project nor an environment."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from headrace.infra.launch.batch import STEPS

        with formatter.section("Steps"):
            formatter.write_dl([(step.name, step.about) for step in STEPS])


@command(cls=Steps, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    ctx: typer.Context,
    step: Annotated[str | None, names.argument(names.steps, "One of the steps below.", show_default=False)] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For the step: `headrace run als -h` shows its own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a step of the night in the batch environment, such as `headrace run als --date 2026-01-31`.

    Without a step it lists them. Exit 3 if the step refuses.
    """
    from headrace.infra.launch import batch

    if step is None and as_json:
        print_json("run", [each._asdict() for each in batch.STEPS])
    elif step is None:
        print(ctx.get_help())
    else:
        _run(step, arguments or [])


def _run(step: str, arguments: list[str]) -> None:
    from headrace.infra.launch import batch
    from headrace.infra.settings import load

    if {"-h", "--help"} & set(arguments):
        raise typer.Exit(batch.run(load().spark, step, arguments))
    enter_project()
    begun_s = time.monotonic()
    status = batch.run(load().spark, step, arguments)
    if outcome := OUTCOMES.get(status):  # a step that failed has said why, in one line
        print(f"{step}: {outcome} after {time.monotonic() - begun_s:.1f} s", file=sys.stderr)
    raise typer.Exit(status)


@command()
def retrain(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The night's last day, UTC; default: yesterday.")
    ] = None,
    models: Annotated[str, names.option(names.models, "Of night.models, by commas; default: all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge; publish nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole night now: the DAG nightly_retrain, without a scheduler. Exit 3 if it is refused, 1 if it fails.

    A line a step: its seconds, what became of it, the last line that it printed. Airflow's log goes to a file.
    """
    from headrace.infra.launch import retrain as night
    from headrace.infra.settings import load

    settings = load()
    wished = [name for name in models.split(",") if name]
    if unknown := set(wished) - set(settings.night.models):
        raise HeadraceError(f"--models must be of night.models, {settings.night.models}, got {', '.join(unknown)}")
    today = datetime.now(UTC).date()
    day = date.date() if date else today - timedelta(days=1)
    if day > today:
        raise typer.BadParameter(f"must be at most {today}, which is today in UTC, got {day}", param_hint="--date")
    done = night.run(settings, day, wished, dry_run, NightShow(as_json))
    if as_json:
        print_json("retrain", {"date": day, "log": done.log, "steps": done.steps, "refused": done.status == REFUSED})
    raise typer.Exit(done.status)


class NightShow:
    """The night as a terminal sees it: on stdout, or on stderr while stdout is for JSON."""

    def __init__(self, as_json: bool) -> None:
        from rich.console import Console

        self.console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        self.status = self.console.status("Airflow begins")

    def begins(self, day: date, log: str) -> None:
        self.console.print(f"the night of {day}; Airflow's log: {log}", markup=False)
        self.status.start()

    def step(self, report: "StepReport") -> None:
        if report.state == "running":
            self.status.update(report.step)
            return
        took = f"{report.seconds:8.1f} s" if report.seconds is not None else " " * 10
        self.console.print(f"{report.step:<12} {took}  {report.state:<16} {report.said}".rstrip(), markup=False)

    def ends(self) -> None:
        self.status.stop()


@airflow.callback(invoke_without_command=True)
def airflow_command(ctx: typer.Context, stop: Annotated[bool, typer.Option("--stop", hidden=True)] = False) -> None:
    if ctx.invoked_subcommand:
        return
    enter_project()
    if stop:
        renamed("headrace airflow --stop", "headrace airflow down")
        airflow_down()
    else:
        renamed("headrace airflow", "headrace airflow up")
        airflow_up()


@airflow.command("up", cls=Command)
def airflow_up() -> None:
    """Start an Airflow here with the project's DAGs, and say where its page is and how to log in."""
    from rich.console import Console

    from headrace.infra.settings import load
    from headrace.infra.stack import airflow

    airflow.up(load(), Console())


@airflow.command("down", cls=Command)
def airflow_down() -> None:
    """End what `headrace airflow up` started."""
    from headrace.infra.stack import airflow

    print("Airflow is down" if airflow.down() else "Airflow was not up")
