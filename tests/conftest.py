"""Fixtures: one real stack for all tests that need it, emptied before each of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # not every environment can start a stack
    from tests.stack.running import Stack


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also tests marked soak, and all 20 crash schedules, not two")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("soak"):
        left_out = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    from tests.stack.running import stack_in

    with stack_in(tmp_path_factory.mktemp("stack"), FLINK__CHECKPOINT_INTERVAL_S=1) as stack:
        yield stack


@pytest.fixture
def stack(running_stack: "Stack") -> "Stack":
    running_stack.reset()
    return running_stack
