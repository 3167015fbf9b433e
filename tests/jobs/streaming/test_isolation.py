"""A row on which a Python function fails costs that row: any number of them, anywhere in the batch."""

import random

import pandas as pd
import pytest

from headrace.jobs.streaming.isolation import isolated, rows


class Failures:
    def __init__(self) -> None:
        self.n = 0

    def inc(self, n: int = 1) -> None:
        self.n += n


def halved(numbers: pd.Series, names: pd.Series) -> pd.DataFrame:
    if (numbers < 0).any():
        raise KeyError("a negative number")
    return pd.DataFrame({"name": names, "half": numbers // 2}, index=numbers.index)


@pytest.mark.parametrize("bad", [(), (0,), (99,), (0, 99), (49, 50), tuple(range(100))])
def test_the_other_rows_have_their_values(bad: tuple[int, ...]) -> None:
    numbers = pd.Series([-1 if n in bad else n for n in range(100)])
    names, failures = pd.Series([f"n{n}" for n in range(100)]), Failures()
    whole = rows(isolated(halved, (numbers, names), failures), ("name", "half"), numbers.index)
    expected = [(None, None) if n in bad else (f"n{n}", n // 2) for n in range(100)]
    assert list(whole.itertuples(index=False, name=None)) == expected
    assert failures.n == len(bad)


def test_the_rows_of_a_part_of_a_batch_keep_their_places() -> None:
    rng = random.Random(3)
    numbers = pd.Series([rng.choice([-1, n]) for n in range(50)])
    some = pd.Series([rng.random() < 0.5 for _ in range(50)])
    part = isolated(halved, (numbers[some], numbers[some].astype(str)), Failures())
    whole = rows(part, ("half",), numbers.index)["half"].tolist()
    assert whole == [n // 2 if taken and n >= 0 else None for n, taken in zip(numbers, some, strict=True)]


def test_values_stay_of_their_kind() -> None:
    """Arrow takes whole numbers and bytes, and no float where there was a missing value."""
    frame = pd.DataFrame({"value": [b"x", None], "ms": [1, 2]}, index=[0, 2])
    whole = rows(frame, ("value", "ms"), pd.RangeIndex(3))
    assert [(repr(value), repr(ms)) for value, ms in whole.itertuples(index=False)] == [
        ("b'x'", "1"), ("None", "None"), ("None", "2"),
    ]  # fmt: skip
    numbers = pd.Series([4, -1, 6])
    half = rows(isolated(halved, (numbers, numbers.astype(str)), Failures()), ("half",), numbers.index)
    assert [repr(each) for each in half["half"]] == ["2", "None", "3"]
