"""Google's dp-accounting on the same rounds as if their noise were continuous: a reference for our bound.

Ours (udfs/federated/accountant.py) bounds what is really sent. RDP counts in a similar way, so it should be within one
per cent; PLD is tight for the continuous Gaussian, and shows how much our bound loses at most. It runs in the edge
environment alone.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint, Mechanism
from headrace.udfs.federated.round_arithmetic import rounded_norm


class Reference(NamedTuple):
    """The epsilons of the reference."""

    rdp: float
    pld: float


def reference(mechanisms: Sequence[Mechanism], delta: float) -> Reference:
    from dp_accounting import ComposedDpEvent, GaussianDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    multipliers = Counter(map(noise_multiplier, mechanisms))
    event = ComposedDpEvent([SelfComposedDpEvent(GaussianDpEvent(z), times) for z, times in multipliers.items()])
    return Reference(*(kind().compose(event).get_epsilon(delta) for kind in (RdpAccountant, PLDAccountant)))


def noise_multiplier(mechanism: Mechanism) -> float:
    """Returns the noise's standard deviation over what one node can change; for disjoint parts, the least."""
    if isinstance(mechanism, Disjoint):
        return min(map(_of_sum, mechanism.parts))
    return _of_sum(mechanism)


def _of_sum(done: DiscreteGaussianSum) -> float:
    return float(done.node_sigma * done.quorum**0.5 / rounded_norm(done))
