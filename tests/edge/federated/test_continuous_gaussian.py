"""Our bound beside RDP and PLD of the continuous Gaussian; in the edge environment, which has dp-accounting."""

import pytest

from headrace.udfs.federated import accountant
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint
from tests.edge.federated.continuous_gaussian import noise_multiplier, reference

ROUND = DiscreteGaussianSum(dimension=1000, clip=1.0, scale=400.0, node_sigma=100, quorum=50)


@pytest.mark.parametrize(("sigma", "rounds"), [(20, 1), (100, 1), (100, 10), (1000, 50)])
def test_ours_is_its_rdp_to_a_per_cent_and_not_far_above_its_pld(sigma: int, rounds: int) -> None:
    pytest.importorskip("dp_accounting")
    done = [ROUND._replace(node_sigma=sigma)] * rounds
    found, ours = reference(done, 1e-5), accountant.epsilon(done, 1e-5)
    assert ours == pytest.approx(found.rdp, rel=0.01)
    assert found.pld < ours < found.pld * 1.15


def test_the_dearest_of_disjoint_parts_counts() -> None:
    assert noise_multiplier(Disjoint((ROUND, ROUND._replace(node_sigma=50)))) == noise_multiplier(ROUND) / 2
