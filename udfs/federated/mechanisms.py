"""What was done to the data, as records that compute nothing; udfs/federated/accountant.py says what they cost.

To add a mechanism, add a frozen record here with every number that its bound needs, and a case in `accountant.renyi`.
Fields are never removed and never change their meaning, and new ones have a default: a ledger keeps these records, not
their epsilon.
"""

from typing import NamedTuple


class DiscreteGaussianSum(NamedTuple):
    """A sum of nodes' updates that is opened once.

    Each update is clipped, scaled and rounded at random, and has discrete Gaussian noise. A node is the unit of
    privacy: neighbouring sums differ in whether they hold its update or zeros in its place.
    """

    dimension: int
    clip: float  # the largest L2 norm of an update
    scale: float  # integer units per 1.0 of an update
    node_sigma: int  # units; standard deviation of the noise that each node adds
    quorum: int  # the least number of nodes whose noise is in the sum
    beta: float = 0.6065306597126334  # e^-1/2: at most so often is a rounding longer than its bound, and drawn again


class Disjoint(NamedTuple):
    """Sums that are opened together, each node in one of them: the buckets of robust aggregation."""

    parts: tuple[DiscreteGaussianSum, ...]


Mechanism = DiscreteGaussianSum | Disjoint
