"""RowAdam beside torch.optim.Adam on whole tables."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from headrace.jobs.batch.training.row_adam import AT_ONCE, FADED, RowAdam

pytestmark = pytest.mark.spark  # whose environment has torch
WIDTH, RATE = 4, 0.01
TABLES = ("ids", "tokens")


def model(rows: int) -> nn.ModuleDict:
    torch.manual_seed(1)
    tables = {"ids": nn.Embedding(rows, WIDTH, sparse=True), "tokens": nn.EmbeddingBag(rows, WIDTH, sparse=True)}
    return nn.ModuleDict(tables | {"layer": nn.Linear(WIDTH, WIDTH)})


def steps(count: int, rows: int, touched: int = 3) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields rows, and what they should become. Row 0 is in none."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        chosen = np.sort(rng.choice(np.arange(1, rows), touched, replace=False))
        yield torch.from_numpy(chosen), torch.from_numpy(rng.normal(size=(touched, WIDTH)).astype(np.float32))


def backward(towers: nn.ModuleDict, rows: Tensor, wanted: Tensor) -> None:
    bags = towers["tokens"](torch.cat([rows, rows[:1]]), torch.arange(len(rows)))  # the first row is there twice
    (towers["layer"](towers["ids"](rows)) + bags - wanted).square().sum().backward()


def ours(towers: nn.ModuleDict, optimizer: RowAdam, rows: Tensor, wanted: Tensor) -> None:
    for name in TABLES:
        optimizer.ready(towers[name].weight, rows)
    optimizer.zero_grad()
    backward(towers, rows, wanted)
    optimizer.step()


def whole(towers: nn.ModuleDict, optimizer: torch.optim.Adam, rows: Tensor, wanted: Tensor) -> None:
    optimizer.zero_grad()
    backward(towers, rows, wanted)
    for name in TABLES:
        towers[name].weight.grad = towers[name].weight.grad.to_dense()
    optimizer.step()


def check(own: nn.ModuleDict, expected: nn.ModuleDict) -> None:
    for name, value in expected.state_dict().items():
        np.testing.assert_allclose(own.state_dict()[name].numpy(), value.numpy(), atol=2e-5, err_msg=name)


@pytest.mark.parametrize(("settled", "count"), [(1, 30), (7, 100), (FADED + 50, FADED + 60)])
def test_rows_come_to_where_adam_moves_them(settled: int, count: int) -> None:
    own, expected = model(50), model(50)
    by_rows, adam = RowAdam(own, RATE), torch.optim.Adam(expected.parameters(), RATE)
    start = own["ids"].weight.detach().clone()
    for step, (rows, wanted) in enumerate(steps(count, 50), 1):
        ours(own, by_rows, rows, wanted)
        whole(expected, adam, rows, wanted)
        if step % settled == 0 or step == count:
            by_rows.settle()
            check(own, expected)
    moved = (own["ids"].weight - start).abs().max(dim=1).values
    assert moved[0] == 0
    assert (moved > RATE).float().mean() > 0.7


def test_a_step_moves_the_rows_that_it_touches_alone() -> None:
    own, rows = model(50), torch.tensor([1, 2, 3])
    optimizer = RowAdam(own, RATE)
    ours(own, optimizer, rows, torch.ones(3, WIDTH))
    before = own["ids"].weight.detach().clone()
    ours(own, optimizer, rows + 3, torch.ones(3, WIDTH))
    moved = (own["ids"].weight != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == [4, 5, 6]
    optimizer.settle()
    moved = (own["ids"].weight != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == [1, 2, 3, 4, 5, 6]


def test_tables_longer_than_what_is_settled_at_once() -> None:
    own, expected = model(AT_ONCE + 2), model(AT_ONCE + 2)
    by_rows, adam = RowAdam(own, RATE), torch.optim.Adam(expected.parameters(), RATE)
    for rows in ([1, AT_ONCE - 1, AT_ONCE + 1], [2, 3, 4], [5, 6, 7]):
        ours(own, by_rows, torch.tensor(rows), torch.ones(3, WIDTH))
        whole(expected, adam, torch.tensor(rows), torch.ones(3, WIDTH))
    by_rows.settle()
    check(own, expected)


def test_weights_of_touched_rows_decay() -> None:
    own, expected = model(4), model(4)
    by_rows, adam = RowAdam(own, RATE, 0.5), torch.optim.Adam(expected.parameters(), RATE, weight_decay=0.5)
    for rows, wanted in steps(100, 4):  # of all but row 0
        ours(own, by_rows, rows, wanted)
        whole(expected, adam, rows, wanted)
    by_rows.settle()
    for name, value in expected.state_dict().items():
        untouched = int(name.startswith(TABLES))
        np.testing.assert_allclose(own.state_dict()[name][untouched:].numpy(), value[untouched:].numpy(), atol=2e-5)


def test_what_is_saved_goes_on_the_same() -> None:
    first, given = model(50), [*steps(60, 50)]
    optimizer = RowAdam(first, RATE)
    for each in given[:30]:
        ours(first, optimizer, *each)
    optimizer.settle()
    second = model(50)
    second.load_state_dict(first.state_dict())
    goes_on = RowAdam(second, RATE)
    goes_on.load_state_dict(deepcopy(optimizer.state_dict()))
    for each in given[30:]:
        ours(first, optimizer, *each)
        ours(second, goes_on, *each)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
