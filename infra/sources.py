"""Where settings come from, and what to say of one that is wrong."""

import os
import tomllib
from pathlib import Path
from typing import Any

from infra import places
from infra.errors import SettingsError

ENV_PREFIX = "HEADRACE_"


def files() -> list[Path]:
    """The files read, first wins."""
    optional = [places.stack_toml()] if places.stack_toml().exists() else []
    named = os.environ.get("HEADRACE_SETTINGS")
    if not named:
        return [*optional, places.SETTINGS_TOML]
    if not Path(named).is_file():
        raise SettingsError(f"HEADRACE_SETTINGS must name an existing file, got {named!r}")
    return [Path(named), *optional, places.SETTINGS_TOML]


def sentence(problem: Any) -> str:
    """A pydantic error in our words: which setting, where it stands, the rule, the value."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location)
    where = f"in {_origin(location)}"
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown setting {name} {where}"
        case "missing":
            return f"setting {name} is missing {where}"
        case "value_error" if isinstance(problem["input"], dict):
            return f"section {name}: {problem['ctx']['error']}"
        case _:
            rule = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
            shown = "a secret" if "password" in location else repr(problem["input"])
            return f"setting {name} {where}: {rule}, got {shown}"


def _origin(location: list[str]) -> str:
    variable = ENV_PREFIX + "__".join(location).upper()
    if variable in os.environ:
        return f"environment {variable}"
    return str(next((path for path in files() if _holds(path, location)), places.SETTINGS_TOML))


def _holds(path: Path, location: list[str]) -> bool:
    table: Any = tomllib.loads(path.read_text())
    for part in location:
        table = table.get(part) if isinstance(table, dict) else None
    return table is not None
