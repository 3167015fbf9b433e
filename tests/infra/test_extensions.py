"""What a shop keeps in its own project, named by module:NAME in its settings or on the command line."""

import sys
from pathlib import Path

import numpy as np
import pytest

from headrace.edge import datasets, policies
from headrace.infra import extensions
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.udfs.bandit.arms import Posterior
from headrace.udfs.bandit.context import Encoder

OWN = """
import numpy as np
from headrace.edge.datasets import Clicks
from headrace.udfs.bandit.context import Encoder, Number
from headrace.udfs.bandit.slate import Chances

CONTEXT = Encoder((Number("user", "rate_click", 1.0),))
NUMBER = 7


class First:
    def chances(self, arms, X, rng):
        def left(each):
            p = np.zeros(len(X))
            p[np.flatnonzero(each)[0]] = 1.0
            return Chances(p, np.zeros(len(X)))

        return left


def lines(path):
    clicks = [
        {"event_id": f"e{n}", "user_id": user, "item_id": "i", "action": "view", "ts_ms": n}
        for n, user in enumerate(path.read_text().split())
    ]
    return Clicks(len(clicks), lambda n: n, lambda: iter([clicks]))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Makes a project with a module of its own, and returns the module's name, which no other test has imported."""
    module = f"shop_{abs(hash(request.node.name))}"
    (tmp_path / "headrace.toml").write_text("")
    (tmp_path / f"{module}.py").write_text(OWN)
    monkeypatch.setenv("HEADRACE_PROJECT", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return module


def test_a_policy_of_the_project_chooses(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_BANDIT__POLICY", f"{project}:First")
    monkeypatch.setenv("HEADRACE_BANDIT__ENCODER", f"{project}:CONTEXT")
    rules = load().bandit
    assert isinstance(policies.encoder(rules), Encoder)
    assert policies.short_name(rules.policy) == "First"
    chances = policies.chooser(rules).policy.chances(
        Posterior(*(np.zeros(0),) * len(Posterior._fields)), np.zeros((3, 1)), np.random.default_rng(1)
    )
    assert chances(np.array([False, True, True])).p.tolist() == [0.0, 1.0, 0.0]


def test_a_data_set_of_the_project_is_read(project: str, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("ann bob")
    clicks = datasets.open_dataset(f"{project}:lines", tmp_path / "users.txt")
    assert [click["user_id"] for click in clicks] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            "no.such.module:X",
            "bandit.encoder must be module:NAME, got 'no.such.module:X', which does not",
        ),
        ("{project}:NOTHING", "bandit.encoder must be module:NAME, .* has no attribute 'NOTHING'"),
        ("{project}:NUMBER", "bandit.encoder must name an object of Encoder, got '.*:NUMBER', of int"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(project: str, reference: str, said: str) -> None:
    with pytest.raises(HeadraceError, match=said):
        extensions.resolve_kind("bandit.encoder", reference.format(project=project), Encoder)


def test_a_policy_without_chances_is_refused(project: str) -> None:
    with pytest.raises(HeadraceError, match=r"bandit\.policy must name a Policy, which has `chances`"):
        policies.policy(f"{project}:NUMBER")
