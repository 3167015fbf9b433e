"""From the wheel alone, without a checkout: an environment, a stack, a job, a click, its features."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import installed
from tests.installed import Installation
from tests.stack.running import wait

pytestmark = pytest.mark.stack


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    installation = installed.install(installed.wheel(tmp_path / "built"), tmp_path)
    yield installation
    headrace(installation, "down")


def headrace(shop: Installation, *arguments: str) -> str:
    done = shop.run("headrace", *arguments, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_click_becomes_features_without_a_checkout(shop: Installation) -> None:
    headrace(shop, "init", ".")
    headrace(shop, "install", "streaming")
    headrace(shop, "up")
    assert "session_features runs as" in headrace(shop, "submit", "session_features")
    client = shop.run("python", "client.py")
    assert client.returncode == 0, client.stderr
    wait(lambda: shop.run("headrace", "session", "ann").returncode == 0, 60, lambda: "no features of ann")
    assert "lamp-1" in headrace(shop, "session", "ann")
    assert "session_features" in headrace(shop, "status")
    assert (shop.folder / ".headrace" / "stack.toml").exists()
