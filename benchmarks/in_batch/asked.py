"""Users, what they took, and 100 items to rank for each: the one that they took next and 99 that they did not."""

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Int = NDArray[np.int64]
N = 10


class Asked(NamedTuple):
    users: Int  # of each event
    items: Int
    who: Int  # (k,)
    candidates: Int  # (k, 100), the wanted one first

    @property
    def size(self) -> tuple[int, int]:
        return int(self.users.max()) + 1, int(max(self.items.max(), self.candidates.max())) + 1


def ncf(data: Path) -> Asked:
    """The split of the NCF benchmark on MovieLens 1M (He et al. 2017)."""
    train = pd.read_parquet(data / "ncf-ml-1m" / "train.parquet")
    with gzip.open(data / "ncf-ml-1m" / "test.negative.gz", "rt") as lines:
        split = [line.rstrip("\n").split("\t") for line in lines]
    wanted = np.array([line[0].strip("()").split(",") for line in split], np.int64)
    negatives = np.array([line[1:] for line in split], np.int64)
    candidates = np.hstack([wanted[:, 1:], negatives])
    return Asked(train.user.to_numpy(np.int64), train.item.to_numpy(np.int64), wanted[:, 0], candidates)


def yoochoose(data: Path, asked: int = 20_000) -> Asked:
    """The last click of sessions drawn from those of three and more; negatives drawn evenly."""
    clicks = pd.read_parquet(data / "yoochoose_17days.parquet")
    users = pd.factorize(clicks.sess)[0].astype(np.int64)
    items = pd.factorize(clicks.item)[0].astype(np.int64)
    rng = np.random.default_rng(1)
    last = len(users) - 1 - np.unique(users[::-1], return_index=True)[1]
    drawn = rng.choice(np.flatnonzero(np.bincount(users) >= 3), asked, replace=False)
    held = last[drawn]
    candidates = rng.integers(0, items.max() + 1, (asked, 100))
    candidates[:, 0] = items[held]
    kept = np.ones(len(users), bool)
    kept[held] = False
    return Asked(users[kept], items[kept], drawn, candidates)


def beauty(data: Path) -> Asked:
    """The last item of each user, in the order of the file; negatives drawn evenly."""
    lines = [line.split() for line in (data / "amazon-beauty" / "Beauty.txt").read_text().splitlines()]
    items = [np.array(line[1:], np.int64) for line in lines]
    size = max(int(each.max()) for each in items) + 1
    last = np.array([each[-1] for each in items])
    candidates = np.random.default_rng(1).integers(0, size, (len(items), 100))
    candidates[:, 0] = last
    who = np.arange(len(items))
    users, before = np.repeat(who, [len(each) - 1 for each in items]), np.concatenate([each[:-1] for each in items])
    return Asked(users, before, who, candidates)


def save(path: Path, asked: Asked) -> None:
    np.savez(path, **asked._asdict())


def read(path: Path) -> Asked:
    with np.load(path) as kept:
        return Asked(*(kept[name] for name in Asked._fields))


def sampled(X: NDArray[Any], Y: NDArray[Any], asked: Asked) -> dict[str, float]:
    """HR and NDCG of the wanted item among the 100; ties count against it."""
    scores = np.concatenate(
        [np.einsum("uf,ukf->uk", X[who], Y[found]) for who, found in _parts(asked.who, asked.candidates)]
    )
    return _of_ranks((scores[:, 1:] >= scores[:, :1]).sum(axis=1))


def full(X: NDArray[Any], Y: NDArray[Any], asked: Asked) -> dict[str, float]:
    """Among all items that the user did not take."""
    order = np.argsort(asked.users, kind="stable")
    taken, ends = asked.items[order], np.cumsum(np.bincount(asked.users, minlength=len(X)))
    ranks = []
    for who, candidates in zip(asked.who, asked.candidates, strict=True):
        scores = Y @ X[who]
        wanted = scores[candidates[0]]
        scores[taken[ends[who - 1] if who else 0 : ends[who]]] = -np.inf
        ranks.append(int((scores >= wanted).sum()) - 1)
    return _of_ranks(np.array(ranks))


def _parts(who: Int, candidates: Int) -> list[tuple[Int, Int]]:
    return [(who[at : at + 1000], candidates[at : at + 1000]) for at in range(0, len(who), 1000)]


def _of_ranks(ranks: Int) -> dict[str, float]:
    hit = ranks < N
    return {"hr": float(hit.mean()), "ndcg": float((hit / np.log2(ranks + 2)).mean())}
