"""The parameters of a population's rounds: scale, noise and field width, from what the operator chooses.

A coarse scale saves bits, but rounding then lengthens an update beyond its clip, and noise must grow with it. So: as
many fields a slot as the sum leaves room for at a scale where the noise grows by no more than `inflation`.
"""

from typing import NamedTuple

from headrace.udfs.federated.accountant import Budget, calibrate
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum
from headrace.udfs.federated.packing import BITS, Layout, layout
from headrace.udfs.federated.update import field_width, rounded_norm

_FIELDS = (5, 4, 3, 2, 1)
_SCALES = (0, 40)  # scale x clip, as powers of two


class Plan(NamedTuple):
    done: DiscreteGaussianSum
    layout: Layout
    failure: float  # chance that a round's sum does not fit, at most
    inflation: float  # by how much rounding raises the noise


def plan(
    dimension: int, clip: float, nodes: int, quorum: int, budget: Budget | None, rounds: int, inflation: float = 1.2
) -> Plan:
    """For `rounds` rounds of at most `nodes` nodes; no budget, no noise."""
    if not 1 <= quorum <= nodes:
        raise ValueError(f"quorum must be from 1 to the {nodes} nodes, got {quorum}")
    wanted = DiscreteGaussianSum(dimension, clip, 1.0, 0, quorum)
    for fields in _FIELDS:
        found = _finest(wanted, nodes, budget, rounds, BITS // fields)
        if found and found.inflation <= inflation:
            return found
    raise ValueError(f"inflation must leave a scale whose sum fits {BITS} bits, got {inflation} for {wanted}")


def _finest(wanted: DiscreteGaussianSum, nodes: int, budget: Budget | None, rounds: int, bits: int) -> Plan | None:
    """The finest scale whose sum fits the field, to a few per cent."""
    low, high = map(float, _SCALES)
    best = None
    while high - low > 0.05:
        middle = (low + high) / 2
        done = wanted._replace(scale=2**middle / wanted.clip)
        done = calibrate(budget, rounds, done) if budget else done
        width = field_width(nodes, done)
        if width.bits <= bits:
            best = Plan(done, layout(bits), width.failure, rounded_norm(done) / (done.clip * done.scale))
        low, high = (middle, high) if width.bits <= bits else (low, middle)
    return best
