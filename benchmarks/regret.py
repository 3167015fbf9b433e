"""Cumulative regret of each policy in the simulator, where click probabilities are known; the cost of late feedback.

Shoppers browse the simulated shop (benchmarks/shoppers). Beside each page that they view, one of the shop's items is
shown. The regret of a choice is the click probability of the item that they would most likely have clicked, less that
of the shown item. Rewards are those of headrace.udfs.bandit.reward, for a click and the like or purchase after it, or a
dislike. Every policy with the same seed gets the same shoppers, contexts and dice.

Choices are those of the product's Chooser with the settings of infra/config/settings.toml, exploration and the guard of
new items included. Statistics are exact, and kept by Sherman-Morrison, since one arm changes at a time; an impression
counts at once, with reward 0, and feedback corrects it when it comes (docs/bandit.md).

There are two references: the best item for everybody, and the best choice that is linear in the context. Both know the
hidden probabilities. What the second one misses, no policy with such contexts can learn.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks import plot
from benchmarks.harness import Result, console, table
from benchmarks.shoppers import ITEMS, SHOPPERS, World, world
from headrace.edge import policies
from headrace.infra import paths
from headrace.infra.settings import Bandit, load
from headrace.udfs.bandit import hybrid_linucb
from headrace.udfs.bandit.arms import Floats, Posterior
from headrace.udfs.bandit.context import SHOPPER
from headrace.udfs.bandit.slate import Chooser

SEEDS, T_975 = 10, 2.262  # Student's t, nine degrees of freedom: 95 % of the mean of ten
CHOICES = 2_000
RATE = 2.0  # clicks/s, of which some two in three are views
DELAY_S = 300.0
REFIT = 25  # choices after which a reader fits again what hybrid arms share
DRAWS = 500  # of hybrid_thompson; 10,000 would take 20 times as long
POINTS = 60  # of a curve
ALPHAS, VS = (0.25, 0.5, 1.0, 2.0, 4.0), (0.25, 0.5, 1.0, 2.0)
PLOT = paths.PACKAGE / "docs" / "regret.svg"
COLOURS = {
    "uniform": "#6b7280", "epsilon_greedy": "#d97706", "linucb": "#2563eb",
    "thompson": "#059669", "hybrid_linucb": "#7c3aed", "hybrid_thompson": "#dc2626",
}  # fmt: skip


class Run(NamedTuple):
    policy: str
    settings: dict[str, Any]
    delay_s: float = 0.0
    exploration: float | None = None  # None: that of the settings

    @property
    def name(self) -> str:
        more = [f"{name} {value:g}" for name, value in self.settings.items()]
        more += [f"exploration {self.exploration:g}"] if self.exploration is not None else []
        more += [f"{self.delay_s:.0f} s late"] if self.delay_s else []
        return " ".join([self.policy, *more])


def main(rate: float) -> Result:
    rules = load().bandit
    worlds = [world(seed, CHOICES, rate or RATE) for seed in track(range(SEEDS), "shoppers", console=console)]
    regrets = {name: np.array([choose(each) for each in worlds]) for name, choose in REFERENCES.items()}
    runs = _runs(rules)
    for run in track(runs, "policies", console=console):
        regrets[run.name] = np.array([regret(seed, each, run, rules) for seed, each in enumerate(worlds)])
    ours = {name: _interval(regrets[name][:, -1]) for name in REFERENCES}
    ours |= {run.name: _interval(regrets[run.name][:, -1]) | _against(regrets, run, rules) for run in runs}
    columns = ("policy", "clicks lost", "+-", "against its default, at once", "+-")
    rows = [(run.name, *ours[run.name].values()) for run in runs]
    table(f"Regret of {CHOICES:,} choices, {SEEDS} seeds", columns, rows)
    PLOT.write_text(drawn(regrets, rules))
    default = _default(rules.policy, rules).name
    ratio = ours["uniform"]["mean"] / ours[default]["mean"]
    return Result("regret", ours, {}, ratio, f"uniform, over {default}", "clicks lost", _conditions(worlds, rules))


def _runs(rules: Bandit) -> list[Run]:
    runs = [_default(policy, rules, delay_s) for delay_s in (0.0, DELAY_S) for policy in COLOURS]
    runs += [_default(policy, rules)._replace(exploration=0.0) for policy in ("linucb", "thompson")]
    runs += [Run("linucb", {"alpha": alpha}) for alpha in ALPHAS] + [Run("thompson", {"v": v}) for v in VS]
    return list({run.name: run for run in runs}.values())


def _default(policy: str, rules: Bandit, delay_s: float = 0.0) -> Run:
    settings = {"alpha": rules.alpha} if policy.endswith("linucb") else {"v": rules.v}
    settings = {} if policy in ("uniform", "epsilon_greedy") else settings
    return Run(policy, settings | ({"draws": DRAWS} if policy == "hybrid_thompson" else {}), delay_s)


def _conditions(worlds: list[World], rules: Bandit) -> dict[str, Any]:
    per_s = float(np.mean([len(each.t_s) / np.ptp(each.t_s) for each in worlds]))
    return {
        "choices": CHOICES, "seeds": SEEDS, "items": ITEMS, "shoppers": SHOPPERS, "d": SHOPPER.d,
        "choices_per_s": round(per_s, 3), "delay_s": DELAY_S, "refit": REFIT,
        "clicks of who knows": float(np.mean([each.p.max(axis=1).sum() for each in worlds])),
        "settings": rules.model_dump(),
    }  # fmt: skip


def _interval(values: Floats) -> dict[str, float]:
    """Mean and half of its 95 % interval, over the seeds."""
    return {"mean": float(values.mean()), "half_width": float(_half_width(values))}


def _half_width(values: Floats) -> Floats:
    return np.asarray(T_975 * values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def _against(regrets: dict[str, Floats], run: Run, rules: Bandit) -> dict[str, float]:
    """How much more is lost than by the same policy as it is by default, at once; paired by seed."""
    more = regrets[run.name][:, -1] - regrets[_default(run.policy, rules).name][:, -1]
    return {f"difference {name}": value for name, value in _interval(more).items()}


def drawn(regrets: dict[str, Floats], rules: Bandit) -> str:
    at = np.unique(np.linspace(0, CHOICES - 1, POINTS).astype(int))
    curves = {name: each[:, at] for name, each in regrets.items()}
    lines = []
    for policy, colour in COLOURS.items():
        at_once, late = (curves[_default(policy, rules, delay_s).name] for delay_s in (0.0, DELAY_S))
        band = _half_width(at_once).tolist()
        lines.append(plot.Line(policy, at_once.mean(axis=0).tolist(), colour, half_width=band))
        if policy != "uniform":  # which learns nothing, late or not
            lines.append(plot.Line(f"{policy}, late", late.mean(axis=0).tolist(), colour, "5 4"))
    for name, dashes in zip(REFERENCES, ("1 3", "8 3 1 3"), strict=True):
        lines.append(plot.Line(name, curves[name].mean(axis=0).tolist(), "#111827", dashes))
    lines.sort(key=lambda line: -line.y[-1])
    title = f"Cumulative regret, mean of {SEEDS} seeds (bands: 95 %); late: rewards come after {DELAY_S:.0f} s"
    return plot.svg(title, "choices", "clicks lost, against the best item for each shopper", (at + 1).tolist(), lines)


def regret(seed: int, world: World, run: Run, rules: Bandit) -> Floats:
    """Cumulative, (n,)."""
    rng = np.random.default_rng([seed, 3])
    chooser, arms = _chooser(run, rules), Learner(ITEMS, SHOPPER.d, rules.ridge)
    names = [f"item-{n:02d}" for n in range(ITEMS)]
    posteriors = dict(zip(names, arms.views(), strict=True))
    pending: deque[tuple[float, int, int]] = deque()  # (when feedback comes, choice, arm)
    chosen = np.empty(len(world.p), np.int64)
    for n, (now_s, X) in enumerate(zip(world.t_s.tolist(), world.X, strict=True)):
        while pending and pending[0][0] <= now_s:
            _, then, arm = pending.popleft()
            arms.rewarded(arm, world.X[then, arm], world.rewards[then, arm])
        if n % REFIT == 0:
            chooser = _refitted(chooser, posteriors)
        chosen[n] = arm = names.index(chooser.choose(names, X, posteriors, rng, 1).items[0])
        arms.shown(arm, X[arm])
        pending.append((now_s + run.delay_s, n, arm))
    return _regret(world, chosen)


def _chooser(run: Run, rules: Bandit) -> Chooser:
    exploration = rules.exploration if run.exploration is None else run.exploration
    highest = rules.exploration_max if exploration else 0.0
    policy = policies.policy(run.policy, **run.settings)
    return Chooser(policy, exploration, highest, rules.new_below, rules.new_exposure, rules.ridge)


def _refitted(chooser: Chooser, posteriors: dict[str, Posterior]) -> Chooser:
    if not isinstance(chooser.policy, policies.HYBRID):
        return chooser
    common = hybrid_linucb.fit(posteriors, SHOPPER.d, chooser.ridge)
    return replace(chooser, policy=replace(chooser.policy, common=common))


def _regret(world: World, chosen: NDArray[np.int64]) -> Floats:
    lost: Floats = world.p.max(axis=1) - world.p[np.arange(len(chosen)), chosen]
    return np.cumsum(lost)


def best_for_all(world: World) -> Floats:
    return _regret(world, np.full(len(world.p), world.p.mean(axis=0).argmax()))


def best_linear(world: World) -> Floats:
    fits = [np.linalg.lstsq(world.X[:, arm], world.p[:, arm])[0] for arm in range(world.p.shape[1])]
    return _regret(world, np.einsum("nkd,kd->nk", world.X, np.array(fits)).argmax(axis=1))


REFERENCES = {"best item for all": best_for_all, "best linear in the context": best_linear}


class Learner:
    """The posteriors of k arms: what headrace.udfs.bandit.arms.solve says of their sums, an impression at a time."""

    def __init__(self, k: int, d: int, ridge: float) -> None:
        self.A_inv = np.tile(np.eye(d) / ridge, (k, 1, 1))
        self.b, self.theta, self.n = np.zeros((k, d)), np.zeros((k, d)), np.zeros(k)

    def views(self) -> Iterator[Posterior]:
        """Of each arm; they change as it learns."""
        for arm in range(len(self.n)):
            yield Posterior(self.theta[arm], self.A_inv[arm], self.n[arm : arm + 1].reshape(()))

    def shown(self, arm: int, x: Floats) -> None:
        A_inv_x = self.A_inv[arm] @ x
        self.A_inv[arm] -= np.outer(A_inv_x, A_inv_x) / (1 + x @ A_inv_x)
        self.n[arm] += 1
        self.theta[arm] = self.A_inv[arm] @ self.b[arm]

    def rewarded(self, arm: int, x: Floats, reward: float) -> None:
        self.b[arm] += reward * x
        self.theta[arm] = self.A_inv[arm] @ self.b[arm]
