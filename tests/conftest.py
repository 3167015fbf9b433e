"""Fixtures: one real stack for all tests that need it, emptied before each of them."""

import ast
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:  # not every environment can start a stack
    from tests.stack.running import Stack

HAS_SPARK = find_spec("pyspark") is not None
# No test is about time: a machine that is busy with something else must not fail one.
hypothesis.settings.register_profile("headrace", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("headrace")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also tests marked soak, and all 20 crash schedules, not two")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignores files of other environments: those marked spark import what only the batch environment has."""
    if not collection_path.name.startswith("test_"):
        return None
    of_spark = "spark" in marks(collection_path)
    wanted = not of_spark if not HAS_SPARK else of_spark or "spark" not in config.option.markexpr
    return None if wanted else True


def marks(file: Path) -> set[str]:
    """Returns the marks of a whole file, those in its `pytestmark`, without importing it."""
    assigned = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    marked = [node.value for node in assigned if ast.unparse(node.targets[0]) == "pytestmark"]
    return {node.attr for value in marked for node in ast.walk(value) if isinstance(node, ast.Attribute)} - {"mark"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("soak"):
        left_out = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gives a test no HEADRACE_ variable of the caller, and a home of its own; builds are shared."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_") and name != "HEADRACE_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    from tests.stack.running import stack_in

    with stack_in(tmp_path_factory.mktemp("stack"), FLINK__CHECKPOINT_INTERVAL_S=1) as stack:
        yield stack


@pytest.fixture
def stack(running_stack: "Stack") -> "Stack":
    running_stack.reset()
    return running_stack


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """Starts Spark with two cores and few partitions, since tests have few data. Only in the batch environment."""
    from headrace.infra import settings
    from headrace.infra.launch import batch
    from headrace.jobs.batch.spark import session

    with pytest.MonkeyPatch.context() as patch:
        small = settings.load().spark.model_copy(update={"master": "local[2]", "driver_memory": "1g"})
        for name, value in batch.environment(small).items():
            patch.setenv(name, value)
        spark = session("tests", **{"spark.sql.shuffle.partitions": 2, "spark.ui.enabled": "false"})
        yield spark
        spark.stop()
