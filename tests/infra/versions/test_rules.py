"""Business rules: which items they leave out, and how a wrong file is reported: key, rule and value."""

from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.errors import SettingsError
from headrace.infra.versions import rules


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "rules.toml").write_text((paths.CONFIG / "rules.toml").read_text())
    return tmp_path / "rules.toml"


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_as_it_comes_nothing_is_left_out(path: Path) -> None:
    found = rules.load(path)
    assert rules.left_out(found, path, ["a", "b"]) == ()
    assert not found.caps_categories
    assert (found.diversity.trade_off, found.diversity.max_similarity) == (0.7, 0.8)


def test_blocked_and_out_of_stock(path: Path) -> None:
    (path.parent / "blocked.txt").write_text("b\n\n c \n")
    (path.parent / "stock.txt").write_text("a\nb\nc\nd")
    change(path, "items = []", 'items = ["a"]')
    change(path, 'file = ""', 'file = "blocked.txt"')
    change(path, 'file = "" ', 'file = "stock.txt" ')
    assert rules.left_out(rules.load(path), path, ["d", "e", "c", "a", "b"]) == ("e", "c", "a", "b")


WRONG = {
    ("items = []", 'itemz = ["a"]'): r"rules\.toml: block\.items is missing; unknown key block\.itemz",
    ("at_most = 0", "at_most = -1"): r"rules\.toml: category\.at_most: must be greater than or equal to 0, got -1",
    ("lambda = 0.7", "lambda = 1.5"): r"rules\.toml: diversity\.lambda: must be less than or equal to 1, got 1\.5",
    ("[category.limits]", '[category.limits]\ncards = "few"'): r"category\.limits\.cards: must be .*, got 'few'",
    ('file = ""', 'file = "none.txt"'): r"rules\.toml: block\.file must name an existing file, got 'none\.txt'",
    ("[stock]", "[stok]"): r"stock is missing; unknown key stok",
    ("[block]", "[block"): r"rules\.toml must be TOML: ",
}  # fmt: skip


@pytest.mark.parametrize(("changed", "said"), WRONG.items(), ids=[said[:30] for said in WRONG.values()])
def test_a_wrong_file_is_named_by_key_rule_and_value(path: Path, changed: tuple[str, str], said: str) -> None:
    change(path, *changed)
    with pytest.raises(SettingsError, match=said):
        rules.load(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.toml"):
        rules.load(tmp_path / "none.toml")
