"""Item factors that least squares fold users in with: implicit ALS, and all that is served as it is."""

from collections.abc import Sequence

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int, Objective, Real
from headrace.udfs.factors.top_n import reasons
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.factor_scorer import FactorScorer


class AlsScorer(FactorScorer):
    """A user's vector solves the equation of udfs/factors/als.py for the user's rows."""

    def __init__(self, items: Sequence[str], Y: Real, objective: Objective) -> None:
        super().__init__(items, Y)
        self._basis, self._objective = als.basis(self.Y), objective

    def user_vectors(self, past: Past) -> Float:
        return als.solve(self._basis, past.rows, self._objective)

    def explain(self, past: Past, items: Int) -> Int:
        """Returns the item of the user's rows that adds most to each score: Hu et al. 2008, section 5."""
        return reasons(self._basis, past.rows, self._objective, items)
