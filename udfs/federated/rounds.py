"""What a record of schemas/round.avsc says of privacy, packing and rotation; and a model's arrays as parts of records.

A record of Kafka holds 1 MiB. So a model, its moments and an opened sum travel as parts of PART parameters, base64.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headrace.udfs.federated import ciphertext, frame, packing, robust
from headrace.udfs.federated import update as federated
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum

Float = NDArray[np.float64]
PART = 1 << 14
RULES: dict[str, federated.FedAvg | federated.FedAdam] = {"fedavg": federated.FedAvg(), "fedadam": federated.FedAdam()}


class Opened(NamedTuple):
    """The sum of one bucket."""

    total: NDArray[np.int64]  # (length,)
    nodes: int


def mechanism(round_: dict[str, Any]) -> DiscreteGaussianSum:
    """What a node of the round does to its update."""
    names = ("clip", "scale", "node_sigma", "quorum")
    return DiscreteGaussianSum(round_["length"], **{name: round_[name] for name in names})


def seed(number: int) -> bytes:
    """Of the round's rotation; public."""
    return b"headrace round %d" % number


def layout(round_: dict[str, Any]) -> packing.Layout:
    return packing.layout(round_["width"])


def parts(length: int) -> int:
    return -(-length // PART)


def split(array: NDArray[Any], kind: DTypeLike) -> list[str]:
    """(..., length) -> a part a string, with all rows of its columns."""
    pieces = (array[..., at : at + PART] for at in range(0, array.shape[-1], PART))
    return [b64encode(np.ascontiguousarray(piece, kind).tobytes()).decode() for piece in pieces]


def join(strings: Iterable[str], kind: DTypeLike, rows: int = 1) -> NDArray[Any]:
    """What `split` took apart, (rows, length)."""
    pieces = [np.frombuffer(b64decode(text), kind).reshape(rows, -1) for text in strings]
    return np.concatenate(pieces, axis=1)


def decode(text: str) -> bytes:
    return b64decode(text)


def mean_update(buckets: Sequence[Opened], scale: float, number: int) -> list[Float]:
    """The mean update of each bucket's nodes."""
    return [federated.unrotate(each.total / (scale * each.nodes), seed(number)) for each in buckets]


def combined(updates: list[Float]) -> Float:
    """One update of the buckets': the median of each parameter."""
    return updates[0] if len(updates) == 1 else robust.median(np.array(updates))


def rule(name: str, rate: float | None) -> federated.FedAvg | federated.FedAdam:
    """As a round or an aggregate says it."""
    return RULES[name] if rate is None else RULES[name]._replace(rate=rate)


def fold(
    model: Float, moments: Float | None, update: Float, by: federated.FedAvg | federated.FedAdam
) -> federated.State:
    """The next model from this one, its moments (2, length) and the round's update."""
    state = federated.new_state(model, by)
    if moments is not None:
        state = federated.State(model, moments[0], moments[1])
    return federated.fold(state, update, by)


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
    """(parts, parameters, moments) of each part of the next model; values: of each bucket, one after another."""
    model = join(parameters, "<f4")[0].astype(np.float64)
    before = None if moments is None else join(moments, "<f8", 2)
    count = len(parameters)
    totals = [join(values[n * count : (n + 1) * count], "<i8")[0] for n in range(len(nodes))]
    update = combined(mean_update(list(map(Opened, totals, nodes)), scale, number))
    state = fold(model, before, update, rule(by, rate))
    after = split(np.array([state.momentum, state.variance]), "<f8")
    return [(count, new, moment) for new, moment in zip(split(state.model, "<f4"), after, strict=True)]


def received(value: bytes, key: bytes, macs: dict[str, bytes]) -> tuple[Any, ...]:
    """Round, chunk, chunks, node, key id and parameters of an authentic frame, two Nones; or reason and detail last."""
    found = frame.parse(value, key)
    if isinstance(found, frame.Fault):
        return _refused(*found)
    if found.node not in macs:
        return _refused("unknown node", f"node must be provisioned, got {found.node}")
    if not frame.is_authentic(value, macs[found.node]):
        return _refused("wrong MAC", f"the frame must end in the MAC of node {found.node}")
    if why := ciphertext.fault(found.body):
        return _refused("bad ciphertext", why)
    return *found[:4], found.key_id.hex(), found.parameters.hex(), None, None


def _refused(reason: str, detail: str) -> tuple[Any, ...]:
    return 0, 0, 0, None, None, None, reason, detail
