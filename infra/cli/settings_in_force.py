"""`headrace settings`: every setting in force, what it means, and where its value comes from."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import SecretStr

from headrace.infra import settings_files
from headrace.infra.settings import load

HEADING = re.compile(r"\[([\w.]+)\]")
SETTING = re.compile(r'(\w+) = (?:"[^"]*"|\[[^\]]*\]|[^#]*?)\s*(?:# (.*))?')
SECRET = "********"
OF_SECRETS = "from the environment, or from the file password_file"


class InForce(NamedTuple):
    name: str
    value: Any
    default: Any
    changed: bool
    meaning: str
    origin: str  # default, a file, or an environment variable

    def line(self) -> str:
        meaning = f"# {self.meaning}" if self.meaning else ""
        return f"{self.name + ' = ' + json.dumps(self.value):<52} {self.origin:<8} {meaning}".rstrip()


def read() -> list[InForce]:
    defaults = dict(_leaves(settings_files.read(settings_files.DEFAULTS)))
    meanings = dict(_meanings())
    return [
        _in_force(name, value, defaults.get(name, ""), meanings.get(name, ""))
        for name, value in _leaves(load().model_dump())
    ]


def _in_force(name: str, value: Any, default: Any, meaning: str) -> InForce:
    origin = settings_files.origin(name.split("."))
    if isinstance(value, SecretStr):
        is_set = bool(value.get_secret_value())
        origin = origin if is_set else "default"
        return InForce(name, SECRET if is_set else "", "", is_set, OF_SECRETS, origin)
    changed = origin != str(settings_files.DEFAULTS) and value != default
    shown = origin.replace(str(settings_files.DEFAULTS), "default")
    return InForce(name, _without_secrets(name, value), default, changed, meaning, shown)


def _without_secrets(name: str, value: Any) -> Any:
    """A URL may carry a password; that of a webhook is one, from its path on."""
    if not isinstance(value, str):
        return value
    if name.startswith("kafka.python."):
        return SECRET
    if name == "alerts.webhook":
        return re.sub(r"^(\w+://)(?:[^/@]*@)?([^/?#]+).+", rf"\1\2/{SECRET}", value)
    return re.sub(r"://[^/@\s]*@", f"://{SECRET}@", value)


def _leaves(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _meanings() -> Iterator[tuple[str, str]]:
    """Yields (setting, its comment in the file of defaults): beside it, or in the lines above it."""
    section, above = "", list[str]()
    for line in settings_files.DEFAULTS.read_text().splitlines():
        if line.startswith("# "):
            above.append(line.removeprefix("# "))
            continue
        if heading := HEADING.match(line):
            section = heading[1]
        elif setting := SETTING.fullmatch(line):
            yield f"{section}.{setting[1]}", setting[2] or " ".join(above)
        above.clear()
