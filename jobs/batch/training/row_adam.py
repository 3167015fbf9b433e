"""Adam for tables of which a step touches few rows: it moves them as Adam does, and costs what the touched rows cost.

Kingma, Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; m, v, beta1, beta2 as there. Adam moves a
row by its momentum in each step, also without a gradient. In the k steps after step s this comes to

    -rate m / sqrt(v) * sum over j = 1 ... k of (beta1 / sqrt(beta2))^j sqrt(1 - beta2^(s+j)) / (1 - beta1^(s+j))

and m and v fade by beta1^k and beta2^k. The sum depends on s and k alone. So a row makes up for its steps when it is
needed next: `ready` does so before a step reads it, `settle` before all are read. Where we differ: Adam lets epsilon
grow beside v as it fades, and decays the weights of all rows, we those of the rows with a gradient.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
FADED = 300  # steps after which less than 1e-13 of a momentum is left
AT_ONCE = 65_536  # rows that `settle` moves at once


class Moments(NamedTuple):
    m: Tensor  # (n, f)
    v: Tensor  # (n, f)
    step: Tensor  # (n,) the step since `settle` that each row has come to


class RowAdam:
    """Moves a model's tables with sparse gradients by rows, and its other parameters as torch.optim.Adam does."""

    def __init__(self, model: nn.Module, rate: float, decay: float = 0.0) -> None:
        tables = [module.weight for module in model.modules() if getattr(module, "sparse", False)]
        self._tables = {table: _moments(table) for table in tables}
        others = [each for each in model.parameters() if each not in self._tables]
        self._others = torch.optim.Adam(others, rate, (BETA1, BETA2), EPSILON, decay)
        self._rate, self._decay = rate, decay
        self._settled, self._step = 0, 0  # steps before `settle`, and since
        self._device = next(model.parameters()).device
        # the sum above, from each step since `settle` to this one
        self._sums = torch.zeros(FADED, dtype=torch.float64, device=self._device)

    def zero_grad(self) -> None:
        self._others.zero_grad()
        for table in self._tables:
            table.grad = None

    @torch.no_grad()  # type: ignore[untyped-decorator]  # checked where torch is not
    def ready(self, table: nn.Parameter, rows: Tensor) -> None:
        """Moves rows to where they are now. rows: each once."""
        m, v, step = self._tables[table]
        rows = rows[step[rows] < self._step]
        first, second, before = m[rows], v[rows], step[rows]
        moved = (first / second.sqrt().add_(EPSILON)).mul_(self._sums[before].float()[:, None])
        table.index_add_(0, rows, moved, alpha=-self._rate)
        passed = (self._step - before)[:, None].float()
        m.index_copy_(0, rows, first.mul_(BETA1**passed))
        v.index_copy_(0, rows, second.mul_(BETA2**passed))
        step[rows] = self._step

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """Moves the other parameters, and the rows that have a gradient."""
        self._others.step()
        for table in self._tables:
            gradient = table.grad.coalesce()
            self._move(table, gradient.indices()[0], gradient.values())
        self._step += 1
        self._add_up()

    def _move(self, table: nn.Parameter, rows: Tensor, gradient: Tensor) -> None:
        self.ready(table, rows)
        m, v, step = self._tables[table]
        gradient = gradient + self._decay * table[rows] if self._decay else gradient
        now = self._settled + self._step + 1
        first = m[rows].mul_(BETA1).add_(gradient, alpha=1 - BETA1)
        second = v[rows].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        moved = first / (second / (1 - BETA2**now)).sqrt_().add_(EPSILON)
        table.index_add_(0, rows, moved, alpha=-self._rate / (1 - BETA1**now))
        m.index_copy_(0, rows, first)
        v.index_copy_(0, rows, second)
        step[rows] = self._step + 1

    def _add_up(self) -> None:
        if self._step == len(self._sums):
            self._sums = torch.cat([self._sums, torch.zeros_like(self._sums)])
        since = torch.arange(max(0, self._step - FADED), self._step, device=self._device)
        now = self._settled + self._step
        ratio = (BETA1 / BETA2**0.5) ** (self._step - since).double()
        self._sums[since] += ratio * (1 - BETA2**now) ** 0.5 / (1 - BETA1**now)

    def settle(self) -> None:
        """Moves all rows to where they are now."""
        for table, moments in self._tables.items():
            for rows in torch.arange(len(table), device=table.device).split(AT_ONCE):
                self.ready(table, rows)
            moments.step.zero_()
        self._settled, self._step = self._settled + self._step, 0
        self._sums.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state, as it is after `settle`."""
        tables = [{"m": moments.m, "v": moments.v} for moments in self._tables.values()]
        return {"tables": tables, "others": self._others.state_dict(), "steps": self._settled}

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        self._others.load_state_dict(kept["others"])
        self._settled = kept["steps"]
        for moments, each in zip(self._tables.values(), kept["tables"], strict=True):
            moments.m.copy_(each["m"])
            moments.v.copy_(each["v"])


def _moments(table: nn.Parameter) -> Moments:
    zeros = torch.zeros_like(table, requires_grad=False)
    return Moments(zeros, zeros.clone(), torch.zeros(len(table), dtype=torch.int64, device=table.device))
