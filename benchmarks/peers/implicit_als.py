"""Seconds per iteration of the library `implicit` on what benchmarks/in_batch/asked.py saved; prints JSON."""

import json
import sys
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix


def main(path: str, factors: str, iterations: str, how: str, alpha: str, reg: str) -> None:
    with np.load(path) as given:
        users, items, who, candidates = (given[name] for name in ("users", "items", "who", "candidates"))
    size = int(users.max()) + 1, int(max(items.max(), candidates.max())) + 1
    matrix = csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=size)
    matrix.data *= float(alpha)
    matrix.data += 1  # implicit's confidence is ours of docs/collaborative.md: 1 + alpha r
    model = AlternatingLeastSquares(
        factors=int(factors), regularization=float(reg), iterations=int(iterations), use_cg=how == "cg", random_state=1
    )
    took_s: list[float] = []
    model.fit(matrix, show_progress=False, callback=lambda _, seconds, *__: took_s.append(seconds))
    print(json.dumps({"iteration_s": took_s[1:]} | ranked(model.user_factors, model.item_factors, who, candidates)))


def ranked(X: Any, Y: Any, who: Any, candidates: Any) -> dict[str, float]:
    """As asked.sampled, which needs our packages."""
    parts = [slice(at, at + 1000) for at in range(0, len(who), 1000)]
    scores = np.concatenate([np.einsum("uf,ukf->uk", X[who[part]], Y[candidates[part]]) for part in parts])
    ranks = (scores[:, 1:] >= scores[:, :1]).sum(axis=1)
    hit = ranks < 10
    return {"hr": float(hit.mean()), "ndcg": float((hit / np.log2(ranks + 2)).mean())}


if __name__ == "__main__":
    main(*sys.argv[1:])
