"""Weights between items: the items most like each, by who took both, and those of a linear autoencoder.

Sarwar, Karypis, Konstan, Riedl 2001, "Item-based collaborative filtering recommendation algorithms": the cosine of two
columns of the users' baskets. `shrink` draws a cosine that few users support towards 0: c / (c + shrink) of it, with c
users who took both (Bell, Koren 2007).
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from headrace.udfs.factors.als import Float, Int, Rows
from headrace.udfs.recommenders.sparse_scorer import Weights

BASKET = 500  # items of a user that count in a co-occurrence, taken evenly: a bot's millions of pairs say little
DENSE = 1 << 24  # numbers of a dense block
PAIRS = 20_000_000  # pairs in memory at a time: some 400 MB


def cosines(rows: Rows, items: int, n: int, shrink: float) -> Weights:
    """Returns the n highest cosines of each item, without the item itself. rows (users, items)."""
    R = baskets(rows, items)
    counts = np.asarray(R.sum(axis=0)).ravel()
    kept = [_nearest((R.T[first:end] @ R).tocoo(), first, counts, n, shrink) for first, end in _slices(R)]
    lengths, columns, values = (np.concatenate(part) for part in zip(*kept, strict=True))
    return Weights(np.concatenate([[0], np.cumsum(lengths)]), columns, values)


def baskets(rows: Rows, items: int) -> sparse.csr_matrix:
    """Returns a (users, items) matrix with 1 for each entry, at most BASKET a user."""
    lengths, kept = np.diff(rows.indptr), np.ones(len(rows.columns), bool)
    for row in np.flatnonzero(lengths > BASKET):
        kept[rows.indptr[row] : rows.indptr[row + 1]] = False
        kept[rows.indptr[row] + np.linspace(0, lengths[row] - 1, BASKET).astype(int)] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, BASKET))])
    ones = np.ones(int(indptr[-1]), np.float32)
    return sparse.csr_matrix((ones, rows.columns[kept], indptr), (len(lengths), items))


def _slices(R: sparse.csr_matrix) -> Iterator[tuple[int, int]]:
    """Yields (first, end) of items that make about PAIRS pairs."""
    pairs = np.cumsum(R.T @ np.asarray(R.sum(axis=1), np.float64).ravel())
    first = 0
    while first < len(pairs):
        before = pairs[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(pairs, before + PAIRS, side="right")))
        yield first, end
        first = end


def _nearest(both: sparse.coo_matrix, first: int, counts: Int, n: int, shrink: float) -> tuple[Int, Int, Int]:
    """Returns (entries of each item, their items, their cosines). both: users who took an item of the slice and one."""
    rows, columns, users = both.row.astype(np.int64), both.col.astype(np.int64), both.data.astype(np.float64)
    other = columns != rows + first
    rows, columns, users = rows[other], columns[other], users[other]
    cosine = users / np.sqrt(counts[rows + first] * counts[columns]) * (users / (users + shrink))
    order = np.lexsort((columns, -cosine, rows))
    rank = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
    best = np.sort(order[rank < n])
    best = best[np.lexsort((columns[best], rows[best]))]
    lengths = np.bincount(rows[best], minlength=both.shape[0])
    return lengths, columns[best].astype(np.int32), cosine[best].astype(np.float32)


def autoencoder(R: sparse.csr_matrix, reg: float, kept: int) -> Weights:
    """Returns W of Steck 2019, eq. 8, the `kept` weights of each row that are farthest from 0. R (users, items).

    The inverse is made in place, by Cholesky. Raises LinAlgError if R'R + reg I has none.
    """
    P = _inverse(R, reg)
    diagonal, found = np.diagonal(P).copy(), []
    for item in range(len(P)):
        weights = -np.concatenate([P[item, :item], P[item:, item]]) / diagonal  # the lower half is all there is
        weights[item] = 0.0
        best = np.argsort(-np.abs(weights), kind="stable")[:kept]
        best = np.sort(best[weights[best] != 0])
        found.append((len(best), best.astype(np.int32), weights[best].astype(np.float32)))
    lengths, columns, values = zip(*found, strict=True)
    return Weights(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(columns), np.concatenate(values))


def _inverse(R: sparse.csr_matrix, reg: float) -> Float:
    """Returns the lower half of the inverse of R'R + reg I, (items, items)."""
    m, columns = R.shape[1], R.tocsc()
    G, width = np.empty((m, m), order="F"), max(1, DENSE // R.shape[1])
    for first in range(0, m, width):
        G[:, first : first + width] = (columns.T @ columns[:, first : first + width]).toarray()
    G[np.diag_indices(m)] += reg
    L, is_singular = lapack.dpotrf(G, lower=1, clean=0, overwrite_a=1)
    if is_singular:
        raise np.linalg.LinAlgError(f"R'R + reg I must have an inverse: reg must be higher, got {reg}")
    return np.asarray(lapack.dpotri(L, lower=1, overwrite_c=1)[0])
