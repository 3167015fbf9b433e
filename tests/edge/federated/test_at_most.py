"""A coordinator that finishes at most so many rounds and ends: how it counts when it is killed or a round fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.edge.federated import provisioning
from headrace.edge.federated.channel import Told
from headrace.edge.federated.coordinator import Coordinator, RoundsWish, first_version
from headrace.edge.federated.provisioning import Population
from headrace.infra.errors import Refusal
from headrace.schemas import topics
from tests.edge.federated import federation

pytest.importorskip("tenseal")
WISH = RoundsWish(federation.MODEL, 4, clip=1.0, quorum=3, epsilon=8.0, at_most=2)
NOW_MS = 1_769_817_600_000
LATE_MS = NOW_MS + WISH.deadline_ms + WISH.grace_ms


@pytest.fixture
def population(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Population:
    federation.home(monkeypatch, tmp_path)
    return provisioning.provision(5, "p", 3, 8.0, 1e-5)


@pytest.fixture
def kafka() -> list[Told]:
    """Returns the records that the topics hold at the start."""
    return version(0)


def version(number: int) -> list[Told]:
    parts = first_version(federation.MODEL, np.zeros(federation.LENGTH, np.float32), federation.LAYERS)
    return [Told(part.topic, part.record | {"version": number}) for part in parts]


class Run:
    """A coordinator from its start until it is done or killed; nodes, Flink and key holder do what the test says."""

    def __init__(self, kafka: list[Told], population: Population, wish: RoundsWish = WISH) -> None:
        self.kafka, self.coordinator = kafka, Coordinator(wish, population)
        for told in kafka:
            self.coordinator.rounds.hear(told)
        self.coordinator.begin()

    def hear(self, told: list[Told]) -> None:
        self.kafka += told
        for each in told:
            self.coordinator.rounds.hear(each)

    def step(self, now_ms: int = NOW_MS) -> None:
        self.hear(self.coordinator.next(now_ms))

    def current(self) -> dict[str, Any]:
        found = self.coordinator.rounds.current(federation.MODEL)
        assert found
        return found

    def fold(self) -> None:
        """Brings the open round to its end."""
        number, begun = self.current()["round"], self.current()["version"]
        opened = {"round": number, "attempt": 0, "status": "opened", "epsilon": 1.0, "reason": None}
        self.hear([Told(topics.AGGREGATES, opened), *version(begun + 1)])
        self.step()

    def abort(self) -> None:
        self.step(LATE_MS)

    def statuses(self) -> list[str]:
        return [each["status"] for _, each in sorted(self.coordinator.rounds.rounds.items())]


def full(run: Run) -> int:
    """Runs rounds until the coordinator is done, when all goes well."""
    count = 0
    while not run.coordinator.is_done():
        if not run.coordinator.rounds.current(federation.MODEL):
            run.step()
        run.fold()
        count += 1
    return count


def test_runs_share_the_rounds_until_none_is_left(kafka: list[Told], population: Population) -> None:
    wish = WISH._replace(rounds=5)
    assert [full(Run(kafka, population, wish)) for _ in range(4)] == [2, 2, 1, 0]
    assert Run(kafka, population, wish).coordinator.failure() == ""


def test_zero_is_all_that_are_left(kafka: list[Told], population: Population) -> None:
    full(Run(kafka, population))
    assert full(Run(kafka, population, WISH._replace(at_most=0))) == 2


def test_an_open_round_of_a_killed_run_is_finished_not_added(kafka: list[Told], population: Population) -> None:
    killed = Run(kafka, population)
    killed.step()
    killed.fold()
    killed.step()  # and here it dies, with round 2 open
    assert not Run(kafka, population, WISH._replace(rounds=1)).coordinator.is_done()  # though no more are wanted
    resumed = Run(kafka, population)
    assert resumed.current()["round"] == 2
    resumed.fold()
    assert not resumed.coordinator.is_done()
    resumed.step()
    resumed.fold()
    assert resumed.coordinator.is_done()
    assert resumed.statuses() == ["closed"] * 3


def test_an_aborted_round_ends_the_run_and_the_next_tries_again(kafka: list[Told], population: Population) -> None:
    run = Run(kafka, population)
    run.step()
    run.abort()
    assert run.coordinator.is_done()
    assert run.coordinator.failure() == "round 1 was aborted: quorum: must be >= 3 nodes a bucket, got 0"
    again = Run(kafka, population)
    assert again.coordinator.failure() == ""
    assert full(again) == 2
    assert again.coordinator.failure() == ""
    assert again.statuses() == ["aborted", "closed", "closed"]


def test_what_a_killed_run_left_open_may_be_aborted(kafka: list[Told], population: Population) -> None:
    Run(kafka, population).step()
    resumed = Run(kafka, population)
    resumed.abort()
    assert resumed.coordinator.is_done()
    assert resumed.coordinator.failure().startswith("round 1 was aborted")


def test_without_a_limit_an_aborted_round_is_tried_until_it_has_a_result(
    kafka: list[Told], population: Population
) -> None:
    run = Run(kafka, population, WISH._replace(at_most=0))
    run.step()
    run.abort()
    assert not run.coordinator.is_done()
    assert full(run) == 4
    assert run.coordinator.failure() == ""


def test_epsilon_is_divided_among_all_rounds_not_those_of_a_run(kafka: list[Told], population: Population) -> None:
    runs = [Run(list(kafka), population, WISH._replace(at_most=at_most)) for at_most in (0, 1)]
    for run in runs:
        run.step()
    sigma, same = (run.current()["node_sigma"] for run in runs)
    assert sigma == same
    with pytest.raises(Refusal, match="no round begins"):
        Run(kafka, population, WISH._replace(rounds=1, epsilon=9.0)).step()
