"""`headrace init`, `install`, `doctor`, `settings`, `up`, `down`, `status`, `logs`: the project and its local stack."""

import os
from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli import names
from headrace.infra.cli.output import Json, Yes, confirm, print_json
from headrace.infra.cli.panel import Anywhere, panel
from headrace.infra.errors import HeadraceError

app, command = panel("Stack")


@command(cls=Anywhere)
def init(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is missing.")],
) -> None:
    """Write a project: a shop's settings, rules, gates and checks, an example client, a README."""
    from headrace.infra.launch import new_project

    written = new_project.write(folder)
    print(f"{folder}: {', '.join(written)}")
    print(f"next: cd {folder}; headrace install streaming; headrace up")


@command()
def install(
    environments: Annotated[list[str], names.argument(names.environments, "Which: {environments}.")],
) -> None:
    """Make the environments in which the stack, the night, the nodes and Airflow run, from locked versions."""
    from rich.console import Console

    from headrace.infra import environments as homes
    from headrace.infra.stack import jars

    if unknown := [name for name in environments if name not in homes.MARKS]:
        raise HeadraceError(f"environments are {', '.join(homes.MARKS)}, got {', '.join(unknown)}")
    console = Console()
    for name in environments:
        with console.status(f"installing {name}"):
            homes.install(name)
            if name == "batch":
                jars.ensure_spark()
        console.print(f"{name}: {homes.ready(name)}", soft_wrap=True)


@command(cls=Anywhere)
def doctor(as_json: Json = False) -> None:
    """What this machine has of what is needed, and what to do about the rest. Exit 1 if something is to do."""
    from rich.console import Console
    from rich.text import Text

    from headrace.infra.cli import setting_names
    from headrace.infra.stack.doctor import findings

    found = [*findings(), *setting_names.findings()]
    if as_json:
        print_json("doctor", [vars(finding) for finding in found])
    for finding in () if as_json else found:
        mark = Text("ok     " if finding.ok else "to do  ", style="green" if finding.ok else "red")
        Console(soft_wrap=True).print(mark + f"{finding.name:<15} {finding.said}")
    raise typer.Exit(0 if all(finding.ok for finding in found) else 1)


@command()
def settings(
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Every setting in force: its value, its meaning, and the file or variable that sets it. No password is shown."""
    from headrace.infra.cli import settings_in_force

    shown = [each for each in settings_in_force.read() if each.changed or not changed]
    if as_json:
        print_json("settings", shown)
        return
    for each in shown:
        print(each.line())
    if not shown:
        print("every setting has its default")


@command()
def up() -> None:
    """Start Kafka, Redis and Flink, wait until they are healthy, and keep them so."""
    from rich.console import Console

    from headrace.infra import environments

    environments.enter("streaming")
    from headrace.infra.stack import lifecycle

    lifecycle.up(Console())


@command()
def down(
    forget: Annotated[
        bool, typer.Option("--forget", help="Then delete what was written: topics, Redis, state, versions, logs.")
    ] = False,
    yes: Yes = False,
) -> None:
    """End what `up` started. Data and jobs stay, and go on at the next `up`."""
    from rich.console import Console

    from headrace.infra import paths
    from headrace.infra.stack import lifecycle

    if forget:
        what = "topics, Redis, state, versions and logs"
        confirm(f"--forget deletes {what} in {paths.home()}", yes=yes)
    lifecycle.down(Console(), forget)


@command()
def status(as_json: Json = False) -> None:
    """Programs, jobs, topics, addresses. Exit 1 unless every program of the stack is healthy."""
    from rich.console import Console

    from headrace.infra.operate import status as stack_status
    from headrace.infra.settings import load

    found = stack_status.gather(load())
    if as_json:
        print_json("status", found)
    else:
        stack_status.show(found, Console())
    raise typer.Exit(0 if stack_status.is_healthy(found) else 1)


@command()
def logs(
    program: Annotated[str, names.argument(names.programs, "Which: {programs}.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="So many, from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until ended.")] = False,
) -> None:
    """The last lines of a program's log."""
    from headrace.infra import paths
    from headrace.infra.stack.programs import AIRFLOW_LOG_NAMES, LOG_NAMES

    files = {**LOG_NAMES, **AIRFLOW_LOG_NAMES, "supervisord": "supervisord.log"}
    if program not in files:
        raise HeadraceError(f"unknown program {program!r}; known: {', '.join(files)}")
    path = paths.logs() / files[program]
    if not path.exists():
        raise HeadraceError(f"{program} has no log at {path}: it never ran")
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])
