"""Redis keys, lists, topics and settings are spelled in one place each."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from headrace.infra import settings_files
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys

ROOT = Path(__file__).parents[2]
OURS = [path for top in ("jobs", "udfs", "edge", "schemas", "infra") for path in (ROOT / top).rglob("*.py")]


def strings(path: Path) -> Iterator[str]:
    """Returns the string literals of a file, also parts of f-strings, without docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def records(path: Path) -> Iterator[set[str]]:
    """Returns the keys of each dict that a file spells out, and the fields of each of its classes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict):
            yield {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
        elif isinstance(node, ast.ClassDef):
            fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
            yield {field.id for field in fields if isinstance(field, ast.Name)}


def test_keys_are_spelled_in_redis_keys_alone() -> None:
    kinds = set(re.findall(r"`([a-z_]+:)", redis_keys.__doc__ or ""))
    assert len(kinds) == 11
    found = {str(path) for path in OURS for text in strings(path) if text.startswith(tuple(kinds))}
    assert found == {str(ROOT / "schemas" / "redis_keys.py")}


def test_topics_are_spelled_in_topics_alone() -> None:
    names = set(kafka_topics.names())
    found = {str(path) for path in OURS for text in strings(path) if text in names}
    assert found == {str(ROOT / "schemas" / "topics.py")}


def test_lists_are_spelled_in_lists_alone() -> None:
    fields = {"item", "score", "reason"}
    found = {str(path) for path in OURS for names in records(path) if fields <= names}
    assert found == {str(ROOT / "schemas" / "lists.py")}


def test_settings_have_their_defaults_in_settings_toml_alone() -> None:
    defaults = tomllib.loads(settings_files.DEFAULTS.read_text())
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert model is not None
        spelled = {name for name, each in model.model_fields.items() if each.is_required()}
        elsewhere = {name for name, each in model.model_fields.items() if not each.is_required()}
        assert spelled <= set(defaults[section]), section
        assert elsewhere <= {"username", "password", "password_file"}, section
