"""One look at a part: what it reports, and when its silence is trouble."""

from collections.abc import Iterator

import pytest

from headrace.infra.operate import watch


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AGAIN_S", 0)


def look(answers: Iterator[tuple[bool, str] | Exception]) -> watch.WatchFinding:
    def asked() -> tuple[bool, str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return watch._asked("bandit", "lag", asked)


def test_a_part_that_begins_is_asked_once_more() -> None:
    assert look(iter([OSError("not yet"), (True, "0 records")])) == ("bandit", "lag", True, "0 records")


def test_a_part_that_stays_silent_is_trouble_and_says_why() -> None:
    found = look(iter([OSError("not yet"), OSError("still away"), (True, "never asked")]))
    assert not found.ok
    assert "still away" in found.said


def test_a_bad_answer_is_not_asked_again() -> None:
    assert look(iter([(False, "9 records"), (True, "0 records")])) == ("bandit", "lag", False, "9 records")
