"""The `headrace` command. Every command imports what it needs itself, so that --help comes at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.infra.cli import dead_letters, federated, jobs, models, night, product, recommend, watch
from headrace.infra.cli import replay as cli_edge
from headrace.infra.errors import REFUSED, HeadraceError, Refusal, describe


class OneLineErrors(TyperGroup):
    """The one place where an error becomes a line on stderr and exit 1, or 3; HEADRACE_DEBUG=1 shows the traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            is_usage_error = hasattr(error, "exit_code")
            if is_usage_error or os.environ.get("HEADRACE_DEBUG"):
                raise
            print(f"headrace: {describe(error)}", file=sys.stderr)
            raise typer.Exit(REFUSED if isinstance(error, Refusal) else 1) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        from headrace import __version__

        print(f"headrace {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Clicks in Kafka to session features and recommendations in Redis, by Flink.",
)
WITHOUT_PROJECT = ("init", "doctor")  # every other command reads or writes a home


@app.callback()
def headrace(
    ctx: typer.Context,
    project: Annotated[
        Path | None, typer.Option(envvar="HEADRACE_PROJECT", help="The folder of headrace.toml, if not here or above.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """The processes that a command starts are of the same project, wherever they run."""
    from headrace.infra import paths

    if project:
        os.environ["HEADRACE_PROJECT"] = str(project)
    if folder := paths.project():
        os.environ["HEADRACE_PROJECT"] = str(folder)
    if ctx.invoked_subcommand not in WITHOUT_PROJECT and not {"--help", "-h"} & set(ctx.args):
        paths.require_project()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is missing.")],
) -> None:
    """Write a project: a shop's settings, rules, gates and checks, an example client, a README."""
    from headrace.infra.launch import new_project

    written = new_project.write(folder)
    print(f"{folder}: {', '.join(written)}")
    print(f"next: cd {folder}; headrace install streaming; headrace up")


@app.command()
def install(
    names: Annotated[list[str], typer.Argument(metavar="streaming|batch|edge|airflow...")],
) -> None:
    """Make the environments in which the stack, the night, the nodes and Airflow run, from locked versions."""
    from rich.console import Console

    from headrace.infra import environments
    from headrace.infra.stack import jars

    if unknown := [name for name in names if name not in environments.MARKS]:
        raise HeadraceError(f"environments are {', '.join(environments.MARKS)}, got {', '.join(unknown)}")
    console = Console()
    for name in names:
        with console.status(f"installing {name}"):
            environments.install(name)
            if name == "batch":
                jars.ensure_spark()
        console.print(f"{name}: {environments.ready(name)}", soft_wrap=True)


@app.command()
def up() -> None:
    """Start Kafka, Redis and Flink, wait until they are healthy, and keep them so."""
    from rich.console import Console

    from headrace.infra import environments

    environments.enter("streaming")
    from headrace.infra.stack import lifecycle

    lifecycle.up(Console())


@app.command()
def down(
    forget: Annotated[
        bool, typer.Option("--forget", help="Then delete what was written: topics, Redis, state, versions, logs.")
    ] = False,
) -> None:
    """End what `up` started. Data and jobs stay, and go on at the next `up`."""
    from rich.console import Console

    from headrace.infra.stack import lifecycle

    lifecycle.down(Console(), forget)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Programs, jobs, topics, addresses. Exit 1 unless every program of the stack is healthy."""
    import json

    from rich.console import Console

    from headrace.infra.operate import status as stack_status
    from headrace.infra.settings import load

    found = stack_status.gather(load())
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        stack_status.show(found, Console())
    raise typer.Exit(0 if stack_status.is_healthy(found) else 1)


@app.command()
def doctor() -> None:
    """What this machine has of what is needed, and what to do about the rest."""
    from rich.console import Console
    from rich.text import Text

    from headrace.infra.cli import setting_names
    from headrace.infra.stack.doctor import findings

    found = [*findings(), *setting_names.findings()]
    for finding in found:
        mark = Text("ok     " if finding.ok else "to do  ", style="green" if finding.ok else "red")
        Console(soft_wrap=True).print(mark + f"{finding.name:<15} {finding.said}")
    raise typer.Exit(0 if all(finding.ok for finding in found) else 1)


@app.command()
def logs(
    program: Annotated[str, typer.Argument(help="Such as kafka, redis, jobmanager, supervisord or scheduler.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until ended.")] = False,
) -> None:
    """The last lines of a program's log."""
    from headrace.infra import paths
    from headrace.infra.stack.programs import AIRFLOW_LOG_NAMES, LOG_NAMES

    names = {**LOG_NAMES, **AIRFLOW_LOG_NAMES, "supervisord": "supervisord.log"}
    if program not in names:
        raise HeadraceError(f"unknown program {program!r}; known: {', '.join(names)}")
    path = paths.logs() / names[program]
    if not path.exists():
        raise HeadraceError(f"{program} has no log at {path}: it never ran")
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])


@app.command()
def session(user: Annotated[str, typer.Argument(help="A user_id.")]) -> None:
    """The features of a user's live session, as Redis has them."""
    from rich.console import Console
    from rich.table import Table

    from headrace.infra.settings import load
    from headrace.schemas import redis_keys

    client = load().redis.client(decode_responses=True)
    features: Any = client.hgetall(redis_keys.session(user))
    if not features:
        raise HeadraceError(f"user {user!r} has no live session in Redis (key {redis_keys.session(user)})")
    table = Table("feature", "value", box=None, pad_edge=False)
    for name, value in features.items():
        table.add_row(name, value)
    Console().print(table)


app.add_typer(jobs.app)
app.add_typer(product.app)
app.add_typer(models.app)
app.add_typer(night.app)
app.add_typer(watch.app)
app.add_typer(recommend.app)
app.add_typer(cli_edge.app)
app.add_typer(dead_letters.app, name="deadletters")
app.add_typer(federated.app, name="federated")
