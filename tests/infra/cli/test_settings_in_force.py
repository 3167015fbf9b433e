"""`headrace settings`: values, meanings and where they come from; nothing secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.infra import paths
from headrace.infra.cli.main import app
from headrace.infra.settings import Settings, load


def said(*options: str) -> str:
    done = CliRunner().invoke(app, ["settings", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def shown(*options: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(said("--json", *options))["data"]}


def test_every_setting_is_there_with_its_meaning() -> None:
    found = shown()
    assert {name.partition(".")[0] for name in found} == set(Settings.model_fields)
    assert found["night.als.factors"] == {
        "name": "night.als.factors",
        "value": load().night.als.factors,
        "default": 128,
        "changed": False,
        "meaning": "numbers of an item's vector",
        "origin": "default",
    }
    assert found["watch.schedule"]["meaning"] == "of the DAG streaming_watch: cron, UTC"
    beyond_one_line = found["flink.bundle_time_ms"]["meaning"]
    assert beyond_one_line.startswith("longest wait of a click")
    assert beyond_one_line.endswith("a third faster")
    assert found["stack.kafka_port"]["meaning"] == ""  # not that of its section
    assert found["bandit.rewards.purchase"]["value"] == 10.0
    assert {each["origin"] for each in found.values()} == {"default"}


def test_what_differs_from_the_defaults_says_where_it_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[session]\nhistory = 40\nrecent = 10\n[night]\nrules = 'ours.toml'")
    paths.stack_toml().parent.mkdir(parents=True)
    paths.stack_toml().write_text("[redis]\nport = 7000")
    monkeypatch.setenv("HEADRACE_SETTINGS", str(mine))
    monkeypatch.setenv("headrace_kafka__partitions", "7")
    monkeypatch.setenv("HEADRACE_BANDIT__REWARDS", '{"click": 1.5}')
    changed = shown("--changed")
    assert {name: (each["value"], each["origin"]) for name, each in changed.items()} == {
        "kafka.partitions": (7, "environment HEADRACE_KAFKA__PARTITIONS"),
        "redis.port": (7000, str(paths.stack_toml())),
        "session.history": (40, str(mine)),
        "bandit.rewards.click": (1.5, "environment HEADRACE_BANDIT__REWARDS"),
        "night.rules": (str(tmp_path / "ours.toml"), str(mine)),
    }
    assert f"session.history = 40 {mine} # events kept per user" in " ".join(said("--changed").split())


def test_without_changes_it_says_so() -> None:
    assert said("--changed") == "every setting has its default\n"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = {
        "REDIS__PASSWORD": "s3cret",
        "ALERTS__WEBHOOK": "https://user:s3cret@hooks.example/T0/s3cret?x=s3cret",
        "NIGHT__REGISTRY": "postgresql://mlflow:s3cret@db/registry",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    found = shown("--changed")
    assert {name: each["value"] for name, each in found.items()} == {
        "redis.password": "********",
        "alerts.webhook": "https://hooks.example/********",
        "night.registry": "postgresql://********@db/registry",
    }
    assert "s3cret" not in said() + said("--json")
