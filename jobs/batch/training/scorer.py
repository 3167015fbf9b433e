"""What a trained model answers, whichever step made it: a score is the product of a user's vector and an item's."""

from collections.abc import Sequence
from typing import Protocol

from headrace.udfs.factors.als import Float, Real
from headrace.udfs.factors.confidence import Events


class Scorer(Protocol):
    @property
    def items(self) -> Sequence[str]: ...

    @property
    def item_factors(self) -> Real:
        """The item factors, (items, factors)."""
        ...

    def user_vectors(self, events: Events, users: int) -> Float:
        """Returns (users, factors); zeros for an unknown user. `events.items` are places in `items`."""
        ...
