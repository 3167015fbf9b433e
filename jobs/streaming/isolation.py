"""A fault of a Python function costs the rows that cause it, and no others."""

import logging
from collections.abc import Callable
from typing import Protocol

import pandas as pd


class Counter(Protocol):
    def inc(self, n: int = 1) -> None: ...


def isolated(function: Callable[..., pd.DataFrame], columns: tuple[pd.Series, ...], failed: Counter) -> pd.DataFrame:
    """Returns function(*columns), with one row for each row; a row on which it fails has no values.

    Where it fails on a batch, the halves are tried, down to single rows. Each of these is counted and logged.
    """
    try:
        return function(*columns).astype(object)  # whole numbers stay such beside missing ones
    except Exception as error:
        fault = error
    index = columns[0].index
    if len(index) == 1:
        failed.inc(1)
        logging.getLogger(__name__).error("a row is set aside: %s", _shown(columns), exc_info=fault)
        return pd.DataFrame(index=index)
    middle = len(index) // 2
    halves = ([column.iloc[:middle] for column in columns], [column.iloc[middle:] for column in columns])
    return pd.concat([isolated(function, tuple(half), failed) for half in halves])


def rows(frame: pd.DataFrame, names: tuple[str, ...], index: pd.Index) -> pd.DataFrame:
    """Returns the columns and rows of these names and places. A value that is absent is None, as Arrow wants it."""
    whole = frame.astype(object).reindex(index=index, columns=list(names)).astype(object)
    return whole.where(whole.notna(), None)


def _shown(columns: tuple[pd.Series, ...]) -> str:
    return ", ".join(f"{column.iloc[0]!r:.80}" for column in columns)
