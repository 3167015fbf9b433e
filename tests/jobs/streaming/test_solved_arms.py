"""Posteriors of a batch of arms, as the job's worker makes them."""

import numpy as np
import pandas as pd

from headrace.jobs.streaming.bandit import SolvedArms
from headrace.udfs.bandit import arms
from tests.jobs.streaming.functions import opened


def sums(seed: int) -> bytes:
    X = np.random.default_rng(seed).random((50, 3))
    return arms.pack(arms.Statistics((X.T @ X)[None], X.sum(axis=0)[None], np.array([50.0])))[0]


def test_an_arm_that_cannot_be_solved_costs_itself_alone() -> None:
    """Too short, no whole number, of another d; and sums whose matrix has no inverse."""
    good = [sums(seed) for seed in range(9)]
    singular = arms.pack(arms.Statistics(-np.eye(3)[None], np.ones((1, 3)), np.ones(1)))[0]
    batch = [*good[:4], b"", good[4], b"short", singular, *good[5:], good[0][:48]]
    with opened(SolvedArms(1.0)) as function:
        found = function.eval(pd.Series(batch)).tolist()
        assert [found[n] for n in (0, 1, 2, 3, 5, 8, 9, 10, 11)] == arms.solve_packed(good, 1.0)
        assert [found[n] for n in (4, 6, 7)] == [None] * 3
