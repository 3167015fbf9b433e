"""The parameters of a population's rounds: scale, noise and field width, from what the operator chooses.

A coarse scale saves bits. But rounding then lengthens an update beyond its clip, and noise must grow with it. So the
plan takes the most fields per slot whose scale makes the noise grow by no more than `inflation`.
"""

from typing import NamedTuple

from headrace.udfs.federated.accountant import Budget, calibrate
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum
from headrace.udfs.federated.packing import BITS, Layout, layout
from headrace.udfs.federated.round_arithmetic import field_width, rounded_norm

_FIELDS = (5, 4, 3, 2, 1)
_SCALES = (0, 40)  # scale x clip, as powers of two


class RoundPlan(NamedTuple):
    done: DiscreteGaussianSum
    layout: Layout
    failure: float  # at most, the chance that a round's sum does not fit
    inflation: float  # the factor by which rounding raises the noise


def plan(
    dimension: int, clip: float, nodes: int, quorum: int, budget: Budget | None, rounds: int, inflation: float = 1.2
) -> RoundPlan:
    """The plan for `rounds` rounds of at most `nodes` nodes. Without a budget there is no noise.

    Raises ValueError unless 1 <= quorum <= nodes, or if no scale meets the limits.
    """
    if not 1 <= quorum <= nodes:
        raise ValueError(f"quorum must be from 1 to the {nodes} nodes, got {quorum}")
    wanted = DiscreteGaussianSum(dimension, clip, 1.0, 0, quorum)
    for fields in _FIELDS:
        finest = _finest(wanted, nodes, budget, rounds, BITS // fields)
        if finest and finest.inflation <= inflation:
            return finest
    raise ValueError(f"inflation must leave a scale whose sum fits {BITS} bits, got {inflation} for {wanted}")


def _finest(wanted: DiscreteGaussianSum, nodes: int, budget: Budget | None, rounds: int, bits: int) -> RoundPlan | None:
    """The plan with the finest scale whose sum fits the field, to a few per cent. None if no scale fits."""
    low, high = map(float, _SCALES)
    best = None
    while high - low > 0.05:
        middle = (low + high) / 2
        done = wanted._replace(scale=2**middle / wanted.clip)
        done = calibrate(budget, rounds, done) if budget else done
        width = field_width(nodes, done)
        if width.bits <= bits:
            best = RoundPlan(done, layout(bits), width.failure, rounded_norm(done) / (done.clip * done.scale))
        low, high = (middle, high) if width.bits <= bits else (low, middle)
    return best
