"""When failures are a loop: as many of one cause, one after the other, without a checkpoint between them."""

import pytest

from headrace.infra.clients.flink import Failure
from headrace.infra.operate import restart_loop

POISON = "java.lang.RecursionError: record {} of attempt 0f3a9c1177de4410 is too deep"
OTHER = "java.io.IOException: connection refused"


def failures(*causes: str) -> list[Failure]:
    """Returns failures at 1, 2, ... s, the newest first; {} is another number in each."""
    return [Failure(1000 * at_s, cause.format(at_s)) for at_s, cause in enumerate(causes, 1)][::-1]


@pytest.mark.parametrize(
    ("causes", "checkpoint_ms", "times"),
    [
        ([], 0, 0),
        ([POISON] * 2, 0, 0),
        ([POISON] * 3, 0, 3),
        ([OTHER, *[POISON] * 3], 0, 3),
        ([*[POISON] * 3, OTHER], 0, 0),
        ([POISON] * 5, 2_000, 3),
        ([POISON] * 5, 2_999, 3),
        ([POISON] * 5, 3_000, 0),
    ],
)
def test_a_loop_is_three_failures_of_one_cause_since_the_last_checkpoint(
    causes: list[str], checkpoint_ms: int, times: int
) -> None:
    assert len(restart_loop.since(failures(*causes), checkpoint_ms)) == times
