"""Kafka is lost, and round numbers begin again among nodes and a key holder that remember the old ones."""

from collections.abc import Sequence

import numpy as np
import pytest

from headrace.edge.federated import provisioning
from headrace.edge.federated.channel import Told
from headrace.edge.federated.coordinator import Coordinator, RoundsWish, first_version
from headrace.schemas import topics
from tests.edge.federated import federation

pytest.importorskip("tenseal")
WISH = RoundsWish(federation.MODEL, 3, clip=1.0, quorum=3, epsilon=8.0)
START, NOW_MS = np.zeros(federation.LENGTH, np.float32), 1_769_817_600_000


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))


def opened(
    population: provisioning.Population, wish: RoundsWish, now_ms: int, after: Sequence[dict[str, object]] = ()
) -> dict[str, object]:
    """Opens the next round of a coordinator that finds no round in Kafka, or some aborted ones."""
    coordinator = Coordinator(wish, population)
    for round_ in after:
        coordinator.rounds.hear(Told(topics.ROUNDS, round_ | {"status": "aborted"}))
    for told in first_version(federation.MODEL, START, federation.LAYERS):
        coordinator.rounds.hear(told)
    (told,) = coordinator.next(now_ms)
    return told.record


def test_a_node_tells_a_round_from_another_of_its_number(caplog: pytest.LogCaptureFixture) -> None:
    population = provisioning.provision(5, "p", 3, 8.0, 1e-5)
    (node, *_) = federation.nodes(population)
    before = node.frames(opened(population, WISH, NOW_MS), START, NOW_MS)
    assert before
    again = opened(population, WISH, NOW_MS + 1)
    assert node.frames(again, START, NOW_MS + 1) == []
    assert "round: must be one not taken before, got 1: --first begins above it" in caplog.text
    later = opened(population, WISH._replace(first=2), NOW_MS + 1, after=[again])
    assert later["round"] == 2
    assert opened(population, WISH._replace(first=9), NOW_MS + 1, after=[later])["round"] == 9
    assert len(node.frames(later, START, NOW_MS + 1)) == len(before)
