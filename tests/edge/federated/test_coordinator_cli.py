"""The wish that `headrace federated coordinator` makes from its options and [federated]."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.edge.federated import provisioning
from headrace.infra.cli import federated
from tests.edge.federated import federation

pytest.importorskip("tenseal")


def wish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str) -> Any:
    from headrace.edge.federated import coordinator

    federation.home(monkeypatch, tmp_path)
    provisioning.provision(5, "p", 3, 8.0, 1e-5)
    asked: list[Any] = []

    def serve(kafka: Any, wish: Any, *_: Any) -> int:
        asked.append(wish)
        return 0

    monkeypatch.setattr(coordinator, "serve", serve)
    done = CliRunner().invoke(federated.app, ["coordinator", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return asked[0]


def test_another_rule_has_its_own_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [
        wish(monkeypatch, tmp_path / str(n), *options.split())
        for n, options in enumerate(("", "--rule fedavg", "--rule fedavg --rate 0.5", "--rate 0.1", "--rule fedadam"))
    ]
    assert [(each.rule, each.rate) for each in found] == [
        ("fedadam", 0.3), ("fedavg", None), ("fedavg", 0.5), ("fedadam", 0.1), ("fedadam", 0.3),
    ]  # fmt: skip


def test_what_is_not_given_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_FEDERATED__CLIP", "2.5")
    found = wish(monkeypatch, tmp_path, "--epsilon", "0", "--rounds", "3")
    assert (found.clip, found.epsilon, found.rounds, found.quorum) == (2.5, None, 3, 0)
