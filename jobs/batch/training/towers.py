"""Two towers: a user's vector from what they took, an item's from its id and content; score = their product.

An offered item is v_i = id_i + mean of the hashed content tokens of i; a taken item is the same from other tables. A
user is the mean of the items they took, weighted by strength (udfs/factors/confidence.py), plus the mean of their
features (place, age, device, hashed), through one hidden layer. No user has parameters, so a new user has a vector from
the first event on. Training drops an item's id, and a user's features, now and then. So the content alone, and the
events alone, mean something, too: a new item has no more than content, a stranger no more than events.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headrace.udfs.factors.als import Int, Rows, ranges
from headrace.udfs.factors.confidence import NO_FEATURE
from headrace.udfs.recommenders.tower_scorer import WEAKEST, UserTower

PRICE_STEPS = 4  # tokens in a doubling of the price
FEATURE_BUCKETS = 1024  # of users' features: few kinds of few values


class Shape(NamedTuple):
    items: int
    buckets: int  # of hashed content tokens; 0: no item has content
    factors: int
    hidden: int
    dropout: float  # share of a user's items that a training step leaves out of the input
    id_dropout: float  # share of item ids, and of users' features, that a training step leaves out
    features: int = 0  # buckets of users' features; 0: no user has any


class Users(NamedTuple):
    """What is known about users; each field has a row per user."""

    taken: Rows
    features: Rows  # buckets of the features

    def chosen(self, places: Int) -> "Users":
        return Users(chosen(self.taken, places), chosen(self.features, places))


class Bags(NamedTuple):
    """Sparse rows as torch wants them: bag n has the entries between offsets n and n + 1."""

    columns: Tensor
    offsets: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "Bags":
        return Bags(*(part.to(device) for part in self))


class Items(nn.Module):  # type: ignore[misc]  # checked where torch is not
    """The item tower: id + mean of the content's tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        drawn = torch.randn(shape.items, shape.factors) * shape.factors**-0.5
        self.ids = nn.Embedding.from_pretrained(drawn, freeze=False, sparse=True)
        self.tokens = nn.EmbeddingBag(shape.buckets, shape.factors, mode="mean", sparse=True) if shape.buckets else None
        self.id_dropout = shape.id_dropout

    def forward(self, places: Tensor, content: Bags) -> Tensor:
        ids = self.ids(places)
        if self.tokens is None:
            return ids
        if self.training:
            ids = ids * undropped(ids, self.id_dropout)
        return ids + self.content(content)

    def content(self, content: Bags) -> Tensor:
        """Returns the vectors of items without an id; zeros for those without content."""
        if self.tokens is None:
            return torch.zeros(len(content.offsets), self.ids.embedding_dim, device=self.ids.weight.device)
        return self.tokens(content.columns, content.offsets)

    def read(self, places: Tensor, content: Bags) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Yields each table and its rows, each once, that `forward` reads. places: each once."""
        yield self.ids.weight, places
        if self.tokens is not None:
            yield self.tokens.weight, content.columns.unique()


class Towers(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.offered, self.taken = Items(shape), Items(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.features = nn.EmbeddingBag(shape.features, shape.factors, mode="mean") if shape.features else None
        if self.features is not None:
            nn.init.zeros_(self.features.weight)  # a feature that nobody has says nothing
        self.hidden = nn.Linear(shape.factors, shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.factors)

    def forward(self, bags: Bags, features: Bags, offered: Tensor, content: Bags) -> Tensor:
        """Returns scores (users, offered). The columns of `bags` are places in `offered`, too."""
        return self.users(self.taken(offered, content), bags, features) @ self.offered(offered, content).T

    def read(self, offered: Tensor, content: Bags) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Yields each table of items and its rows, each once, that `forward` reads."""
        yield from self.offered.read(offered, content)
        yield from self.taken.read(offered, content)

    def users(self, taken: Tensor, bags: Bags, features: Bags) -> Tensor:
        """Returns (bags, f). taken: the table that the bags' columns point into."""
        weights = self.dropout(bags.weights)
        summed = nn.functional.embedding_bag(bags.columns, taken, bags.offsets, mode="sum", per_sample_weights=weights)
        if self.features is not None:
            known = self.features(features.columns, features.offsets)
            known = known * undropped(known, self.shape.id_dropout) if self.training else known
            summed = summed + known
        return self.out(torch.tanh(self.hidden(summed)))


def undropped(rows: Tensor, dropout: float) -> Tensor:
    """Returns (rows, 1): False for the rows to drop."""
    return torch.rand(len(rows), 1, device=rows.device) >= dropout


def bags(rows: Rows) -> Bags:
    """Returns the rows as bags, the weights of each scaled to length 1."""
    lengths = np.diff(rows.indptr)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    strengths = np.maximum(rows.strengths, WEAKEST)
    norms = np.sqrt(np.bincount(owners, strengths**2, len(lengths)))
    weights = (strengths / norms[owners]).astype(np.float32)
    return Bags(
        torch.from_numpy(rows.columns.astype(np.int64)), torch.from_numpy(rows.indptr[:-1]), torch.from_numpy(weights)
    )


def tokens(category: str | None, price: float | None, texts: Iterable[str | None]) -> list[str]:
    """Returns an item's content as words to hash."""
    words = [f"text:{word}" for text in texts if text for word in text.lower().split()]
    if category:
        words.append(f"category:{category}")
    if price is not None and np.isfinite(price) and price > 0:
        words.append(f"price:{round(PRICE_STEPS * float(np.log2(price)))}")
    return words


def hashed(content: Iterable[list[str]], buckets: int) -> Rows:
    """Returns a row per item: the buckets of its tokens, each once."""
    rows = [sorted({zlib.crc32(token.encode()) % buckets for token in each}) if buckets else [] for each in content]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns: Int = np.array([bucket for row in rows for bucket in row], np.int64)
    return Rows(indptr, columns, np.ones(len(columns)))


def chosen(rows: Rows, places: Int) -> Rows:
    """Returns the rows of these places, in this order."""
    starts, ends = rows.indptr[places], rows.indptr[places + 1]
    indptr = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    entries = ranges(starts, ends)
    return Rows(indptr, rows.columns[entries], rows.strengths[entries])


def users(taken: Rows, features: Int, buckets: int) -> Users:
    """Returns the users of these rows. features (n, kinds): hashes or NO_FEATURE, of udfs/factors/confidence.py."""
    says = (features != NO_FEATURE) & (buckets > 0)
    indptr = np.concatenate([[0], np.cumsum(says.sum(axis=1))]).astype(np.int64)
    return Users(taken, Rows(indptr, features[says] % max(buckets, 1), np.ones(indptr[-1])))


def tables(towers: Towers, content: Rows) -> tuple[NDArray[np.float32], Tensor]:
    """Returns (item factors (m, f), the table that users are made from)."""
    towers.eval()
    device = towers.out.weight.device
    every, contents = torch.arange(towers.shape.items, device=device), bags(content).to(device)
    with torch.no_grad():
        return towers.offered(every, contents).cpu().numpy(), towers.taken(every, contents)


def vectors(towers: Towers, taken: Tensor, users: Users) -> NDArray[np.float64]:
    """Returns the users' vectors, (n, f); zeros for a user who took nothing."""
    towers.eval()
    with torch.no_grad():
        outputs = towers.users(taken, *(bags(rows).to(taken.device) for rows in users))
    X: NDArray[np.float64] = outputs.cpu().numpy().astype(np.float64)
    X[np.diff(users.taken.indptr) == 0] = 0.0
    return X


def user_tower(towers: Towers, taken: Tensor) -> UserTower:
    """Returns what makes users' vectors without torch. taken: of `tables`."""
    features = towers.features.weight if towers.features is not None else taken[:0]
    layers = (torch.cat([layer.weight, layer.bias[:, None]], dim=1) for layer in (towers.hidden, towers.out))
    return UserTower(*(table.detach().cpu().numpy() for table in (taken, features, *layers)))
