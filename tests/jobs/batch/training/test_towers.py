"""Towers: bags of what users took, and files of earlier releases."""

import numpy as np
import pytest

pytest.importorskip("torch")

from headrace.jobs.batch import two_tower
from headrace.jobs.batch.training import tower_steps, towers
from headrace.jobs.batch.training.towers import Towers
from headrace.udfs.factors.als import Rows
from tests.jobs.batch.training.small_towers import ITEMS, settings

pytestmark = pytest.mark.spark  # whose environment has torch
CONTENT = Rows(np.arange(ITEMS + 1), np.arange(ITEMS) % 5, np.ones(ITEMS))


def test_the_weakest_strengths_are_weights_too() -> None:
    """Their squares would be 0: events of a thousand half-lives ago."""
    weights = towers.bags(Rows(np.array([0, 2, 3]), np.array([0, 1, 0]), np.array([1e-200, 1e-200, 5e-324]))).weights
    np.testing.assert_allclose(weights.numpy(), [0.5**0.5, 0.5**0.5, 1], rtol=1e-6)


@pytest.mark.parametrize("of_0_2_0", [False, True])
def test_saved_towers_are_restored(of_0_2_0: bool) -> None:
    """Up to 0.2.0 the tables of ids were called `offered.ids` and `taken.ids`."""
    model = Towers(tower_steps.shape(two_tower.planned(ITEMS, CONTENT, settings())))
    kept = towers.saved(model, CONTENT)
    if of_0_2_0:
        kept["state"] = {name.replace(".ids.weight", ".ids"): value for name, value in kept["state"].items()}
        assert {"offered.ids", "taken.ids"} <= kept["state"].keys()
    for ours, expected in zip(towers.tables(*towers.restored(kept)), towers.tables(model, CONTENT), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(expected))
