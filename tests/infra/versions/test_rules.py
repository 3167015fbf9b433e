"""Business rules: which items they leave out, and how a wrong file is reported: key, rule and value."""

from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.errors import HeadraceError, SettingsError
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
    assert rules.read(path) == rules.ItemRules()
    assert rules.of_version(path, ["a", "b"]) == ()
    assert not found.caps_categories
    assert (found.diversity.trade_off, found.diversity.max_similarity) == (0.9, 1.0)


def name_files(path: Path, block: str | bytes | None = None, stock: str | bytes | None = None) -> None:
    """Writes the files, and names them in the rules."""
    for section, content in {"block": block, "stock": stock}.items():
        if content is not None:
            (path.parent / f"{section}.txt").write_bytes(content.encode() if isinstance(content, str) else content)
            before, begun, after = path.read_text().partition(f"[{section}]")
            path.write_text(before + begun + after.replace('file = ""', f'file = "{section}.txt"', 1))


def test_blocked_and_out_of_stock(path: Path) -> None:
    """An id that is no item of the version, such as `new`, does no harm beside one that is."""
    name_files(path, block="b\n\n c \nnew\n", stock="a\nb\nc\nd\nother")
    change(path, "items = []", 'items = ["a"]')
    assert rules.of_version(path, ["d", "e", "c", "a", "b"]) == ("e", "c", "a", "b")
    found = rules.read(path)
    assert [item for item in ("d", "new", "newer", "other", "a") if found.forbids(item)] == ["new", "newer", "a"]


def test_a_mark_of_excel_unblocks_nothing(path: Path) -> None:
    name_files(path, block=b"\xef\xbb\xbfsku-1\r\nsku-2\r\n", stock="\ufeffsku-1\r\nsku-3\r\n".encode("utf-16-le"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert rules.of_version(path, ["sku-1", "sku-2", "sku-3", "sku-4"]) == ("sku-1", "sku-2", "sku-4")


def test_an_empty_block_file_blocks_nothing_and_an_empty_stock_file_is_an_error(path: Path) -> None:
    name_files(path, block="\n")
    assert rules.of_version(path, ["a"]) == ()
    name_files(path, stock="item_id\n")
    for reads in (rules.read, lambda each: rules.of_version(each, ["a"])):
        with pytest.raises(HeadraceError, match=r"rules\.toml: stock\.file must name .*, found none in .*stock\.txt"):
            reads(path)


@pytest.mark.parametrize("section", ["block", "stock"])
def test_a_file_that_names_no_item_of_the_version_is_an_error(path: Path, section: str) -> None:
    name_files(path, **{section: "sku-1,5\nsku-2,0\n"})
    said = rf"{section}\.file must name items of the version, such as 'sku-1'; found 2 other .*, such as 'sku-1,5'"
    with pytest.raises(HeadraceError, match=said):
        rules.of_version(path, ["sku-1", "sku-2"])
    if section == "stock":
        with pytest.raises(HeadraceError, match=said):
            rules.in_stock(path, ["sku-1"])
    else:  # an older version may know none of what is blocked today
        assert rules.in_stock(path, ["sku-1"]) == rules.read(path)


def test_rules_that_leave_nothing_to_list_are_an_error(path: Path) -> None:
    change(path, "items = []", 'items = ["a"]')
    name_files(path, stock="a")
    with pytest.raises(HeadraceError, match=r"rules\.toml must leave items to list, but it leaves out all 2 of"):
        rules.of_version(path, ["a", "b"])


WRONG = {
    ("items = []", 'itemz = ["a"]'): r"rules\.toml: block\.items is missing; unknown key block\.itemz",
    ("at_most = 0", "at_most = -1"): r"rules\.toml: category\.at_most: must be greater than or equal to 0, got -1",
    ("lambda = 0.9", "lambda = 1.5"): r"rules\.toml: diversity\.lambda: must be less than or equal to 1, got 1\.5",
    ("[category.limits]", '[category.limits]\ncards = "few"'): r"category\.limits\.cards: must be .*, got 'few'",
    ('file = ""', 'file = "none.txt"'): r"rules\.toml: block\.file must name an existing file, got '.*none\.txt'",
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
