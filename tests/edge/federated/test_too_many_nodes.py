"""A sum opens exactly up to a number of nodes. No party opens a round or a sum of more: docs/privacy.md."""

from pathlib import Path

import numpy as np
import pytest

from headrace.edge.federated import bfv, key_holder, provisioning
from headrace.edge.federated.channel import Told
from headrace.edge.federated.coordinator import Coordinator, RoundsWish, first_version
from headrace.infra import federated_files
from headrace.infra.errors import HeadraceError
from headrace.schemas import topics
from tests.edge.federated import federation

pytest.importorskip("tenseal")
WISH = RoundsWish(federation.MODEL, 2, clip=1.0, quorum=3, epsilon=8.0)
NOW_MS = 1_769_817_600_000


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Coordinator:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    coordinator = Coordinator(WISH, provisioning.provision(7, "p", 3, 8.0, 1e-5))
    for told in first_version(federation.MODEL, np.zeros(federation.LENGTH, np.float32), federation.LAYERS):
        coordinator.rounds.hear(told)
    return coordinator


def test_the_coordinator_opens_no_such_round(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfv, "NODES_MAX", 6)
    with pytest.raises(HeadraceError, match="nodes of a sum must be <= 6, got 7: --sample invites fewer"):
        coordinator.next(NOW_MS)
    coordinator.wish = WISH._replace(sample=6)
    assert len(coordinator.next(NOW_MS)[0].record["invited"]) == 6
    coordinator.wish = WISH._replace(buckets=True)
    assert coordinator.next(NOW_MS)[0].record["buckets"] == 2


def test_the_key_holder_opens_no_such_sum(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    (opened,) = coordinator.next(NOW_MS)
    round_, nodes = opened.record, federation.nodes(provisioning.read(federated_files.holder()))
    frames = {node.name: node.frames(round_, np.zeros(federation.LENGTH, np.float32), NOW_MS) for node in nodes}
    monkeypatch.setattr(bfv, "NODES_MAX", 6)
    holder = key_holder.of_home()
    holder.hear(opened)
    for record in federation.sums(round_, frames, round_["invited"]):
        holder.hear(Told(topics.SUMS, record))
    ((refused,),) = holder.answers(NOW_MS)
    assert refused["reason"] == "size: a cohort must have <= 6 nodes, got 7"
