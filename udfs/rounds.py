"""What a record of schemas/round.avsc says of privacy, packing and rotation; and a model's arrays as parts of records.

A record of Kafka holds 1 MiB. So a model, its moments and an opened sum travel as parts of PART parameters, base64.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from udfs import federated, packing
from udfs.mechanisms import DiscreteGaussianSum

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
    """One update of the buckets': the median of each parameter, so that a bucket with a hostile node pulls it nowhere far."""
    return updates[0] if len(updates) == 1 else np.asarray(np.median(np.array(updates), axis=0))


def fold(model: Float, moments: Float | None, update: Float, rule: str) -> federated.State:
    """The next model from this one, its moments (2, length) and the round's update."""
    state = federated.new_state(model, RULES[rule])
    if moments is not None:
        state = federated.State(model, moments[0], moments[1])
    return federated.fold(state, update, RULES[rule])
