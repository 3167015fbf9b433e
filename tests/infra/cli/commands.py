"""Every command of `headrace`, found from its root."""

from collections.abc import Iterator
from typing import Any

import typer

from headrace.infra.cli.main import app

Path = tuple[str, ...]  # such as ("deadletters", "resend")


def commands(group: Any = None, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    root: Any = group or typer.main.get_command(app)
    for name, command in root.commands.items():
        yield (*above, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
