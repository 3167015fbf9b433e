"""The records that cross a process border, each defined once in an .avsc file beside this one.

How a schema may change (`violations` checks it, tests hold each schema against its published versions):
* a field is never removed or renamed, and never changes its type, unit or meaning;
* a new field is optional: a union with null, default null;
* a limit (length, range, enum symbols) may be widened, never narrowed;
* a new symbol comes last: states know an action by its place.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

Schema = dict[str, Any]
LOWER, UPPER = ("minimum", "exclusiveMinimum", "minLength"), ("maximum", "maxLength", "maxItems")


@cache
def load(name: str) -> Schema:
    """The schema of schemas/{name}.avsc."""
    schema: Schema = json.loads((files(__name__) / f"{name}.avsc").read_text("utf-8"))
    return schema


def violations(old: Schema, new: Schema) -> list[str]:
    """One line for each rule above that `new` breaks. Empty if `new` may follow `old`."""
    before, after = ({f["name"]: f for f in schema["fields"]} for schema in (old, new))
    broken = [f"{name} is gone" for name in before if name not in after]
    for name, field in after.items():
        if name in before:
            broken += [f"{name}: {what}" for what in _narrowed(before[name], field)]
        elif field["type"][0] != "null" or field.get("default", 0) is not None:
            broken.append(f"{name} is new and not optional")
    return broken


def _narrowed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    if symbols(old["type"]):
        before, after = symbols(old["type"]), symbols(new["type"])
        broken = [f"symbol {gone} is gone" for gone in before if gone not in after]
        if not broken and after[: len(before)] != before:
            broken = ["symbols have moved"]
    else:
        broken = [] if old["type"] == new["type"] else [f"type was {old['type']}, is {new['type']}"]
    broken += [f"{k} rose" for k in LOWER if k in new and (k not in old or new[k] > old[k])]
    return broken + [f"{k} fell" for k in UPPER if k in new and (k not in old or new[k] < old[k])]


def symbols(avro_type: Any) -> list[str]:
    """The symbols of an enum type, in order. Empty for any other type."""
    return list(avro_type["symbols"]) if isinstance(avro_type, dict) and avro_type["type"] == "enum" else []


def enum(name: str, field: str) -> list[str]:
    """The symbols of an enum field of a schema, in order."""
    return next(symbols(f["type"]) for f in load(name)["fields"] if f["name"] == field)
