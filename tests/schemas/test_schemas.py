"""Schemas, their golden records, and the rules by which they may change."""

import copy
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from headrace.schemas import load, types, violations
from headrace.udfs.contract import Contract

HERE = Path(__file__).parent
# After 0.2.0 a ts_ms in seconds is refused: as milliseconds it said January 1970, and no shop has events of then.
NARROWED = {name: ["ts_ms: minimum rose"] for name in ("click", "impression")}
NAMES = sorted(path.stem for path in (HERE.parents[1] / "schemas").glob("*.avsc"))


SHUFFLED = {"type": "enum", "name": "Action", "symbols": load("click")["fields"][3]["type"]["symbols"][::-1]}


def golden(name: str) -> bytes:
    return (HERE / "golden" / f"{name}.json").read_bytes().strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_record_passes_and_comes_back_as_it_was(name: str) -> None:
    contract = Contract.of(name)
    columns, faults = contract.columns([golden(name)])
    assert faults == [None]
    assert {field: column[0] for field, column in zip(contract.fields, columns, strict=True)} == json.loads(
        golden(name)
    )
    assert contract.check(json.loads(golden(name))) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_record_is_a_record_of_the_avro_schema(name: str) -> None:
    assert fastavro.validate(json.loads(golden(name)), fastavro.parse_schema(copy.deepcopy(load(name))))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_may_follow_its_published_version(name: str) -> None:
    published = json.loads((HERE / "published" / f"{name}.avsc").read_text())
    assert violations(published, load(name)) == NARROWED.get(name, [])


def test_every_field_says_what_it_is() -> None:
    for name in NAMES:
        for field in load(name)["fields"]:
            assert field["doc"], f"{name}.{field['name']}"
            assert not field["name"].endswith("_ms") or "milliseconds" in field["doc"], f"{name}.{field['name']}"


def changed(**change: Any) -> dict[str, Any]:
    """Returns the click schema with fields changed (a dict), added (a new name) or removed (None)."""
    schema = copy.deepcopy(load("click"))
    fields = {field["name"]: field for field in schema["fields"]}
    for name, new in change.items():
        fields[name] = {**fields.get(name, {"name": name}), **new} if new else {}
    return schema | {"fields": [field for field in fields.values() if field]}


def test_what_may_change() -> None:
    assert violations(load("click"), changed(colour={"type": ["null", "string"], "default": None})) == []
    assert violations(load("click"), changed(query={"maxLength": 4096}, rating={"maximum": 100})) == []
    symbols = [*load("click")["fields"][3]["type"]["symbols"], "wish"]
    assert (
        violations(load("click"), changed(action={"type": {"type": "enum", "name": "Action", "symbols": symbols}}))
        == []
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rating": None}, "rating is gone"),
        ({"colour": {"type": "string"}}, "colour is new and not optional"),
        ({"colour": {"type": ["null", "string"], "default": "red"}}, "colour is new and not optional"),
        ({"price": {"type": ["null", "long"]}}, "price: type was"),
        ({"query": {"maxLength": 10}}, "query: maxLength fell"),
        ({"ts_ms": {"minimum": 10**12}}, "ts_ms: minimum rose"),
        ({"action": {"type": {"type": "enum", "symbols": ["view"]}}}, "action: symbol click is gone"),
        ({"action": {"type": SHUFFLED}}, "action: symbols have moved"),
    ],
)
def test_what_may_not_change(change: dict[str, Any], said: str) -> None:
    found = violations(load("click"), changed(**change))
    assert found
    assert found[0].startswith(said)


def test_sql_types() -> None:
    assert types.ddl("session") == (
        "`user_id` STRING NOT NULL, `start_ms` BIGINT NOT NULL, `end_ms` BIGINT NOT NULL, `events` BIGINT NOT NULL, "
        "`counts` MAP<STRING, BIGINT> NOT NULL, `items` ARRAY<STRING> NOT NULL, `distinct_items` BIGINT, "
        "`truncated` BOOLEAN"
    )
    assert "`action` STRING NOT NULL" in types.ddl("click")
    assert "`price` DOUBLE," in types.ddl("click")
    assert "`context` ARRAY<DOUBLE> NOT NULL" in types.ddl("impression")
