"""The options of a mapping, spelled once: for the commands, for a job's arguments, and as the keys of its TOML."""

import shlex
import tomllib
from collections.abc import Iterator
from collections.abc import Mapping as Dictionary
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files.mapping import Mapping


class Option(NamedTuple):
    name: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        return f"--{self.name}"


OPTIONS = (
    Option("map", "FIELD=COLUMN,...", "Columns of other names; a.b is nested, a[].b an event each, a|b the first."),
    Option("action", "THEIRS=OURS,...", "What their actions are, such as addtocart=cart."),
    Option("default", "FIELD=VALUE,...", "For rows that lack the field."),
    Option("without", "FIELD,...", "Fields not to read, though a column has their name."),
    Option("time", "FORM", "Of ts_ms: s, ms, us, ns, iso (default), or a pattern such as %d/%m/%Y %H:%M."),
    Option("zone", "ZONE", "Of times that name none, such as Europe/Amsterdam; default: UTC."),
    Option("null", "TEXT,...", "More texts that stand for no value; FIELD=TEXT: in that field."),
    Option("ids", "text|int", "int: 17850.0 is 17850. Default: text, as it stands."),
    Option("decimal", ".|,", "The decimal mark, where a price does not tell it."),
    Option("columns", "NAME,...", "The columns of a file without a header; a last NAME[] takes all further cells."),
    Option("delimiter", "TEXT", "Between cells, such as ';' or tab; default: as the first lines tell."),
    Option("quote", "CHARACTER", "Around cells; '' for none. Default: \" unless tabs are between them."),
    Option("encoding", "NAME", "Such as cp1252; default: as the file tells."),
    Option("sheet", "NAME", "Of a workbook; default: all that have the first one's columns."),
)
PAIRS, LISTS = ("map", "action", "default"), ("without", "null", "columns")
MAPPING_HELP = 'A TOML file of these options, such as time = "s"; options that are given win over it.'


def mapping(texts: Dictionary[str, str | None], file: Path | None = None) -> Mapping:
    """Returns the mapping that options say, over that of a file. Raises HeadraceError with the option and the value."""
    known = _of_file(file) if file else {}
    for name, text in texts.items():
        if text is None:
            continue
        if name in PAIRS:
            known[name] = known.get(name, {}) | _pairs(name, text)
        else:
            known[name] = [entry.strip() for entry in text.split(",")] if name in LISTS else text
    named = known.get("map", {})
    left_out = [name for name, column in named.items() if not column] if isinstance(named, dict) else []
    if left_out:  # --map rating= is --without rating
        known["map"] = {name: column for name, column in known["map"].items() if column}
        known["without"] = [*known.get("without", ()), *left_out]
    try:
        return msgspec.convert(known, Mapping)
    except msgspec.ValidationError as error:
        raise HeadraceError(f"{file or 'a mapping'}: {error}") from None


def _of_file(file: Path) -> dict[str, Any]:
    try:
        known = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HeadraceError(f"{file} must be TOML: {error}") from None
    names = [option.name for option in OPTIONS]
    if unknown := [name for name in known if name not in names]:
        raise HeadraceError(f"{file} must have the keys {', '.join(names)}, got {unknown[0]!r}")
    return known


def _pairs(name: str, text: str) -> dict[str, str]:
    """Reads A=B,C=D. A comma that no `=` follows is part of the value before it."""
    found: dict[str, str] = {}
    last = ""
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if equals and key:
            found[key], last = value, key
        elif last:
            found[last] += f",{part}"
        else:
            raise HeadraceError(f"--{name} must be A=B,C=D, got {text!r}")
    return found


def _said(given: Mapping) -> Iterator[tuple[Option, Any]]:
    """Yields the options that are not as they are by default."""
    for option in OPTIONS:
        value = getattr(given, option.name)
        if value != getattr(Mapping(), option.name):
            yield option, value


def line(given: Mapping) -> str:
    """Returns the options to type for a mapping."""
    parts = []
    for option, value in _said(given):
        if isinstance(value, dict):
            value = ",".join(f"{key}={text}" for key, text in value.items())
        elif isinstance(value, tuple):
            value = ",".join(value)
        parts.append(f"{option.flag} {shlex.quote(value)}")
    return " ".join(parts)


def toml(given: Mapping) -> str:
    """Returns a mapping as the file that `--mapping` reads."""
    plain, tables = [], []
    for option, value in _said(given):
        if isinstance(value, dict):
            tables += ["", f"[{option.name}]", *(f"{_key(key)} = {_string(text)}" for key, text in value.items())]
        else:
            shown = f"[{', '.join(map(_string, value))}]" if isinstance(value, tuple) else _string(value)
            plain.append(f"{option.name} = {shown}")
    return "\n".join([*plain, *tables]).lstrip("\n") + "\n"


def _key(text: str) -> str:
    return text if text.replace("_", "").isalnum() and text.isascii() else _string(text)


def _string(text: str) -> str:
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
