"""Two towers: a user's vector from what they took, an item's from its id and content; score = their product.

Items are offered as v_i = id_i + mean of the hashed content tokens of i, and taken likewise with other tables. A user
is the mean of what they took, weighted by strength (udfs/confidence.py), through one hidden layer: no user has
parameters, so a new user has a vector from the first event on. An item's id is dropped now and then in training, so
that content alone says something too: that is what a new item has.
"""

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from udfs.als import Int, Rows

PRICE_STEPS = 4  # tokens in a doubling of the price


class Shape(NamedTuple):
    items: int
    buckets: int  # of hashed content tokens; 0: no item has content
    factors: int
    hidden: int
    dropout: float  # share of what was taken that a training step leaves out
    id_dropout: float  # share of ids that a training step leaves out


class Bags(NamedTuple):
    """Sparse rows as torch wants them: bag n has what lies between offsets n and n + 1."""

    columns: Tensor
    offsets: Tensor
    weights: Tensor


class Items(nn.Module):  # type: ignore[misc]  # checked where torch is not
    """id + mean of the content's tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ids = nn.Parameter(torch.randn(shape.items, shape.factors) * shape.factors**-0.5)
        self.tokens = nn.EmbeddingBag(shape.buckets, shape.factors, mode="mean") if shape.buckets else None
        self.id_dropout = shape.id_dropout

    def forward(self, places: Tensor, content: Bags) -> Tensor:
        ids = self.ids[places]
        if self.tokens is None:
            return ids
        if self.training:
            kept = torch.rand(len(places), 1) >= self.id_dropout
            ids = ids * kept
        return ids + self.content(content)

    def content(self, content: Bags) -> Tensor:
        """The vectors of items that have no id; zeros for those without content."""
        if self.tokens is None:
            return torch.zeros(len(content.offsets), self.ids.shape[1])
        return self.tokens(content.columns, content.offsets)


class Towers(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.offered, self.taken = Items(shape), Items(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.hidden = nn.Linear(shape.factors, shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.factors)

    def forward(self, bags: Bags, offered: Tensor, content: Bags) -> Tensor:
        """Scores (users, offered); the columns of `bags` are places in `offered`, too."""
        return self.users(self.taken(offered, content), bags) @ self.offered(offered, content).T

    def users(self, taken: Tensor, bags: Bags) -> Tensor:
        """(bags, f) from the table that the bags' columns point into."""
        weights = self.dropout(bags.weights)
        summed = nn.functional.embedding_bag(bags.columns, taken, bags.offsets, mode="sum", per_sample_weights=weights)
        return self.out(torch.tanh(self.hidden(summed)))


def bags(rows: Rows) -> Bags:
    """Weights of a row have the length 1."""
    lengths = np.diff(rows.indptr)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    norms = np.sqrt(np.bincount(owners, rows.strengths**2, len(lengths)))
    weights = (rows.strengths / norms[owners]).astype(np.float32)
    return Bags(
        torch.from_numpy(rows.columns.astype(np.int64)), torch.from_numpy(rows.indptr[:-1]), torch.from_numpy(weights)
    )


def tokens(category: str | None, price: float | None, texts: Iterable[str | None]) -> list[str]:
    """What an item's content says, as words to hash."""
    words = [f"text:{word}" for text in texts if text for word in text.lower().split()]
    if category:
        words.append(f"category:{category}")
    if price is not None and np.isfinite(price) and price > 0:
        words.append(f"price:{round(PRICE_STEPS * float(np.log2(price)))}")
    return words


def hashed(content: Iterable[list[str]], buckets: int) -> Rows:
    """One row an item: the buckets of its tokens; no two alike in a row."""
    rows = [sorted({zlib.crc32(token.encode()) % buckets for token in each}) if buckets else [] for each in content]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns: Int = np.array([bucket for row in rows for bucket in row], np.int64)
    return Rows(indptr, columns, np.ones(len(columns)))


def chosen(rows: Rows, places: Int) -> Rows:
    """The rows of these places, in this order."""
    lengths = np.diff(rows.indptr)[places]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    entries = np.repeat(rows.indptr[places] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return Rows(indptr, rows.columns[entries], rows.strengths[entries])


def tables(towers: Towers, content: Rows) -> tuple[NDArray[np.float32], Tensor]:
    """(item factors (m, f), the table that users are made from)."""
    towers.eval()
    every, contents = torch.arange(towers.shape.items), bags(content)
    with torch.no_grad():
        return towers.offered(every, contents).numpy(), towers.taken(every, contents)


def vectors(towers: Towers, taken: Tensor, rows: Rows) -> NDArray[np.float64]:
    """(n, f); zeros for a row without entries."""
    towers.eval()
    with torch.no_grad():
        found: NDArray[np.float64] = towers.users(taken, bags(rows)).numpy().astype(np.float64)
    found[np.diff(rows.indptr) == 0] = 0.0
    return found


def saved(towers: Towers, content: Rows) -> dict[str, Any]:
    """What towers.pt holds."""
    kept = {"indptr": torch.from_numpy(content.indptr), "columns": torch.from_numpy(content.columns)}
    return {"shape": towers.shape._asdict(), "state": towers.state_dict(), "content": kept}


def restored(kept: dict[str, Any]) -> tuple[Towers, Rows]:
    towers = Towers(Shape(**kept["shape"]))
    towers.load_state_dict(kept["state"])
    indptr, columns = (kept["content"][name].numpy() for name in ("indptr", "columns"))
    return towers.eval(), Rows(indptr, columns, np.ones(len(columns)))
