"""The `headrace` command. Every command imports what it needs itself, so that --help comes at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.infra.cli import (
    data,
    dead_letters,
    federated,
    models,
    night,
    recommend,
    ship,
    spool,
    stack,
    stream,
    topics,
    train,
)
from headrace.infra.cli.panel import Group, group
from headrace.infra.errors import REFUSED, Refusal, describe


class OneLineErrors(Group):
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


app = group(
    "Clicks in Kafka to session features and recommendations in Redis, by Flink.",
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def headrace(
    project: Annotated[
        Path | None, typer.Option(envvar="HEADRACE_PROJECT", help="The folder of headrace.toml, if not here or above.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if project:
        os.environ["HEADRACE_PROJECT"] = str(project)


app.add_typer(stack.app)
app.add_typer(stream.app)
app.add_typer(dead_letters.app, name="deadletters", rich_help_panel="Stream")
app.add_typer(topics.app, name="topics", rich_help_panel="Stream")
app.add_typer(spool.app, name="spool", rich_help_panel="Stream")
app.add_typer(train.app)
app.add_typer(models.app)
app.add_typer(recommend.app)
app.add_typer(night.app)
app.add_typer(night.airflow, name="airflow", rich_help_panel="Night")
app.add_typer(data.app)
app.add_typer(federated.app, name="federated", rich_help_panel="Federated")
app.add_typer(ship.app)
