"""What Google's dp-accounting says of the same rounds, were their noise continuous: a reference, promised by nobody.

Ours (udfs/federated/accountant.py) bounds what is really sent. Its RDP, a like way of counting, should be within a per
cent; PLD is tight for the continuous Gaussian, and shows what our bound gives away at most. In the edge environment
alone.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint, Mechanism
from headrace.udfs.federated.round_arithmetic import rounded_norm


class Reference(NamedTuple):
    """Epsilons."""

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
    """Standard deviation of the sum's noise over what one node can change; of the dearest of disjoint parts."""
    if isinstance(mechanism, Disjoint):
        return min(map(_of_sum, mechanism.parts))
    return _of_sum(mechanism)


def _of_sum(done: DiscreteGaussianSum) -> float:
    return float(done.node_sigma * done.quorum**0.5 / rounded_norm(done))
