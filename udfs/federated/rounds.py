"""What a record of schemas/round.avsc means for privacy, packing and rotation; and a model's arrays in records.

A record of Kafka holds 1 MiB. So a model, its moments and an opened sum travel in parts of PART parameters, as base64.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headrace.udfs.federated import ciphertext, frame, packing, robust, round_arithmetic
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum

Float = NDArray[np.float64]
PART = 1 << 14
RULES: dict[str, round_arithmetic.FedAvg | round_arithmetic.FedAdam] = {
    "fedavg": round_arithmetic.FedAvg(),
    "fedadam": round_arithmetic.FedAdam(),
}


class BucketSum(NamedTuple):
    """The sum of one bucket."""

    total: NDArray[np.int64]  # (length,)
    nodes: int


def mechanism(round_: dict[str, Any]) -> DiscreteGaussianSum:
    """What a node of the round does to its update."""
    names = ("clip", "scale", "node_sigma", "quorum")
    return DiscreteGaussianSum(round_["length"], **{name: round_[name] for name in names})


def seed(number: int) -> bytes:
    """The public seed of the round's rotation."""
    return b"headrace round %d" % number


def layout(round_: dict[str, Any]) -> packing.Layout:
    """How the round packs its numbers."""
    return packing.layout(round_["width"])


def parts(length: int) -> int:
    """How many parts an array of this length needs."""
    return -(-length // PART)


def split(array: NDArray[Any], kind: DTypeLike) -> list[str]:
    """Splits an array (..., length) along its last axis: one string per part, which holds all rows of its columns."""
    pieces = (array[..., at : at + PART] for at in range(0, array.shape[-1], PART))
    return [b64encode(np.ascontiguousarray(piece, kind).tobytes()).decode() for piece in pieces]


def join(strings: Iterable[str], kind: DTypeLike, rows: int = 1) -> NDArray[Any]:
    """Joins what `split` made, (rows, length)."""
    pieces = [np.frombuffer(b64decode(text), kind).reshape(rows, -1) for text in strings]
    return np.concatenate(pieces, axis=1)


def decode(text: str) -> bytes:
    return b64decode(text)


def mean_update(buckets: Sequence[BucketSum], scale: float, number: int) -> list[Float]:
    """The mean update of each bucket's nodes, (length,) each, from the opened sums of round `number`."""
    return [round_arithmetic.unrotate(each.total / (scale * each.nodes), seed(number)) for each in buckets]


def combined(updates: list[Float]) -> Float:
    """One update from those of the buckets: the median of each parameter."""
    return updates[0] if len(updates) == 1 else robust.median(np.array(updates))


def rule(name: str, rate: float | None) -> round_arithmetic.FedAvg | round_arithmetic.FedAdam:
    """The server's rule that a round or an aggregate names, with its rate if it has one."""
    return RULES[name] if rate is None else RULES[name]._replace(rate=rate)


def fold(
    model: Float, moments: Float | None, update: Float, by: round_arithmetic.FedAvg | round_arithmetic.FedAdam
) -> round_arithmetic.State:
    """The next model from this one, its moments (2, length) and the round's update."""
    state = round_arithmetic.new_state(model, by)
    if moments is not None:
        state = round_arithmetic.State(model, moments[0], moments[1])
    return round_arithmetic.fold(state, update, by)


def folded(
    number: int,
    by: str,
    rate: float | None,
    scale: float,
    nodes: Sequence[int],
    parameters: Sequence[str],
    moments: Sequence[str] | None,
    values: Sequence[str],
) -> list[tuple[int, str, str]]:
    """The next model: (number of parts, parameters, moments) of each part.

    parameters, moments: the parts of the model before; nodes: in each bucket; values: the parts of each bucket's sum,
    bucket after bucket.
    """
    model = join(parameters, "<f4")[0].astype(np.float64)
    before = None if moments is None else join(moments, "<f8", 2)
    count = len(parameters)
    totals = [join(values[n * count : (n + 1) * count], "<i8")[0] for n in range(len(nodes))]
    update = combined(mean_update(list(map(BucketSum, totals, nodes)), scale, number))
    state = fold(model, before, update, rule(by, rate))
    after = split(np.array([state.momentum, state.variance]), "<f8")
    return [(count, new, moment) for new, moment in zip(split(state.model, "<f4"), after, strict=True)]


def received(value: bytes, key: bytes, macs: dict[str, bytes]) -> tuple[Any, ...]:
    """A row of round, chunk, chunks, node, key id, parameters, reason and detail.

    Reason and detail are None for an authentic frame. For a refused record they are given, and the rest is empty.
    macs: the MAC key of each node.
    """
    parsed = frame.parse(value, key)
    if isinstance(parsed, frame.FrameFault):
        return _refused(*parsed)
    if parsed.node not in macs:
        return _refused("unknown node", f"node must be provisioned, got {parsed.node}")
    if not frame.is_authentic(value, macs[parsed.node]):
        return _refused("wrong MAC", f"the frame must end in the MAC of node {parsed.node}")
    if why := ciphertext.fault(parsed.body):
        return _refused("bad ciphertext", why)
    return *parsed[:4], parsed.key_id.hex(), parsed.parameters.hex(), None, None


def _refused(reason: str, detail: str) -> tuple[Any, ...]:
    return 0, 0, 0, None, None, None, reason, detail
