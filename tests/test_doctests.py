"""The examples in docstrings: each one runs, and prints what it says."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("udfs", "edge", "schemas", "infra")
MODULES = [
    ".".join(("headrace", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_examples_are_found() -> None:
    """An example that is skipped whole needs a running Kafka or Redis; these need nothing."""
    runnable = ("udfs.contract", "udfs.covisitation.counts", "udfs.bandit.context", "udfs.bandit.reward")
    assert {f"headrace.{name}" for name in runnable} <= set(MODULES)
