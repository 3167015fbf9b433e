"""A port that is taken makes way for a free one, and we say who holds it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Stack, load
from headrace.infra.stack import lifecycle, ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.LOCALHOST, 0)) as server:
        yield server.getsockname()[1]


def _stack(**changes: int) -> Stack:
    return load().stack.model_copy(update=changes)


def test_a_taken_port_is_replaced_and_its_holder_named(taken: int) -> None:
    chosen, moved = ports.choose(_stack(kafka_port=taken))
    assert chosen["kafka_port"] != taken
    assert ports.is_free(chosen["kafka_port"])
    assert any(f"{taken} is taken by" in line and f"(pid {os.getpid()})" in line for line in moved)


def test_two_parts_never_share_a_port() -> None:
    with socket.create_server((ports.LOCALHOST, 0)) as server:
        free = server.getsockname()[1]
    chosen, _ = ports.choose(_stack(kafka_port=free, redis_port=free))
    assert len(set(chosen.values())) == len(chosen)
    assert chosen["kafka_port"] == free


def test_an_occupied_wildcard_counts_as_taken() -> None:
    with socket.create_server(("", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_taken_port_that_the_environment_insists_on_is_refused(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    monkeypatch.setenv("HEADRACE_STACK__ZOOKEEPER_PORT", str(taken))
    with pytest.raises(HeadraceError, match=rf"^stack\.zookeeper_port is set to {taken} in the environment"):
        lifecycle._configure(load(), Console(quiet=True))
