"""Where settings come from, and what to say of one that is wrong."""

import os
import tomllib
from pathlib import Path
from typing import Any

from headrace.infra import paths
from headrace.infra.errors import SettingsError

ENV_PREFIX = "HEADRACE_"
DEFAULTS = paths.CONFIG / "settings.toml"
# Variables that are no settings.
OTHER_VARIABLES = {
    f"{ENV_PREFIX}{name}" for name in ("CACHE", "DATA", "DEBUG", "HOME", "PROJECT", "SETTINGS", "SUPERVISED")
}
# Settings of an older version, and what they are called now.
RENAMED = {
    "collaborative.cap": "covisitation.cap",
    "collaborative.half_life_days": "covisitation.half_life_days",
    "collaborative.horizon_days": "covisitation.horizon_days",
    "collaborative.shrink": "covisitation.shrink",
    "collaborative.traded_max": "covisitation.traded_max",
    "collaborative.refresh_s": "covisitation.refresh_s",
    "collaborative.versions_kept": "night.versions_kept",
}


def files() -> list[Path]:
    """The files read, first wins: HEADRACE_SETTINGS, the project's, what the local stack chose, the defaults."""
    named, project = os.environ.get("HEADRACE_SETTINGS"), paths.project()
    if named and not Path(named).is_file():
        raise SettingsError(f"HEADRACE_SETTINGS must name an existing file, got {named!r}")
    optional = [project / paths.PROJECT_FILE if project else None, paths.stack_toml()]
    found = [path for path in optional if path and path.exists()]
    return [*([Path(named).absolute()] if named else []), *found, DEFAULTS]


def sentence(problem: Any) -> str:
    """A pydantic error in our words: which setting, where it is set, the rule, the value."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location)
    where = f"in {origin(location)}"
    match problem["type"]:
        case "extra_forbidden" if name in RENAMED:
            return f"setting {name} {where} is called {RENAMED[name]} since 0.2.0"
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


def origin(location: list[str]) -> str:
    """The variable or file that sets a setting: the first that has it."""
    variables = {name.upper() for name in os.environ}
    for depth in range(len(location), 1, -1):  # one variable may set a whole table
        variable = ENV_PREFIX + "__".join(location[:depth]).upper()
        if variable in variables:
            return f"environment {variable}"
    return str(next((path for path in files() if _holds(path, location)), DEFAULTS))


def read(path: Path) -> dict[str, Any]:
    """The tables of a settings file. Raises SettingsError if it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise SettingsError(f"{path} must be TOML: {error}") from error


def _holds(path: Path, location: list[str]) -> bool:
    table: Any = read(path)
    for part in location:
        table = table.get(part) if isinstance(table, dict) else None
    return table is not None
