"""What was done to the data, as records that compute nothing; udfs/federated/accountant.py says what they cost.

To add one: a frozen record here with every number its bound needs, and a case in `accountant.renyi`. Fields are never
removed and never change their meaning, new ones have a default: a ledger keeps these records, not their epsilon.
"""

from typing import NamedTuple


class DiscreteGaussianSum(NamedTuple):
    """The sum of nodes' updates: clipped, scaled, rounded at random, each with discrete Gaussian noise, opened once.

    A node is the unit of privacy: with its update, or with zeros in its place.
    """

    dimension: int
    clip: float  # L2 norm of an update at most
    scale: float  # integer units of an update's 1.0
    node_sigma: int  # units; of the noise that each node adds
    quorum: int  # nodes at least, whose noise is in the sum
    beta: float = 0.6065306597126334  # e^-1/2: a rounding over the bound of the norm may be this likely, and is redrawn


class Disjoint(NamedTuple):
    """Opened together, each node being in one of them: robust aggregation's buckets."""

    parts: tuple[DiscreteGaussianSum, ...]


Mechanism = DiscreteGaussianSum | Disjoint
