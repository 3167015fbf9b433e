"""Rules that change while a program runs: when a change counts, and what stays when the files are wrong."""

import os
import shutil
from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.versions import followed_rules, store
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.infra.versions.rules import ItemRules
from tests.infra.versions.test_store import keep

BLOCKED = ItemRules(frozenset({"lamp"}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shutil.copy(paths.CONFIG / "rules.toml", tmp_path)
    return tmp_path / "rules.toml"


def write(path: Path, block: str = "", stock: str = "", items: str = "") -> None:
    """Writes the rules anew, as an editor does, with another time than before."""
    text = (paths.CONFIG / "rules.toml").read_text().replace("items = []", f"items = [{items}]")
    before, begun, after = text.partition("[stock]")
    before = before.replace('file = ""', f'file = "{block}"')
    put(path, before + begun + after.replace('file = ""', f'file = "{stock}"'))


def put(file: Path, text: str) -> None:
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    os.utime(file, ns=(before + 10**9, before + 10**9))


def following(path: Path, kind: str, ids: str) -> tuple[Path, RulesFollower]:
    """Returns a file of ids that the rules name, and a follower that has read both. kind: block or stock."""
    file = path.with_name(f"{kind}.txt")
    put(file, ids)
    write(path, **{kind: file.name})
    follower = followed_rules.of(str(path))
    follower.read()
    return file, follower


def test_a_change_counts_once_the_files_have_rested(path: Path) -> None:
    follower = followed_rules.of(str(path))
    assert (follower.held, follower.read(), follower.look(), follower.look()) == (ItemRules(), False, False, False)
    write(path, items='"lamp"')
    assert (follower.look(), follower.held) == (False, ItemRules())
    assert (follower.look(), follower.held) == (True, BLOCKED)
    assert (follower.look(), follower.look()) == (False, False)


def test_a_stock_list_that_is_being_written_is_not_half_a_shop(path: Path) -> None:
    stock, follower = following(path, "stock", "lamp\nbulb\n")
    for text in ("", "lamp\n", "lamp\nrug\n"):
        put(stock, text)
        assert follower.look() is False
        assert follower.held == ItemRules(stocked=frozenset({"lamp", "bulb"}))
    assert follower.look() is True
    assert follower.held == ItemRules(stocked=frozenset({"lamp", "rug"}))


def test_equal_rules_are_no_change_and_the_same_object(path: Path) -> None:
    block, follower = following(path, "block", "lamp\n")
    held = follower.held
    put(block, "lamp\nlamp\n")
    assert (follower.look(), follower.look(), follower.held is held) == (False, False, True)


def test_what_is_wrong_is_said_once_and_the_rules_stay(path: Path) -> None:
    write(path, items='"lamp"')
    follower = followed_rules.of(str(path))
    follower.read()
    write(path, block="later.txt")
    follower.look()
    with pytest.raises(HeadraceError, match=r"block\.file must name an existing file"):
        follower.look()
    assert (follower.look(), follower.look(), follower.held) == (False, False, BLOCKED)
    put(path.with_name("later.txt"), "bulb\n")  # the rules themselves do not change any more
    assert (follower.look(), follower.look(), follower.held) == (False, True, ItemRules(frozenset({"bulb"})))
    path.write_text("[block")
    follower.look()
    with pytest.raises(HeadraceError, match="must be TOML"):
        follower.look()
    assert follower.held.blocked == {"bulb"}


def test_a_stock_list_of_another_shop_empties_no_list(path: Path) -> None:
    """It names no item of the version that serves; before the first version nobody can tell."""
    put(path.with_name("stock.txt"), "from\nanother\nshop\n")
    write(path, stock="stock.txt")
    assert followed_rules.of(str(path)).read() is False
    keep("v1")
    store.publish("v1", 1)
    follower = RulesFollower(path, BLOCKED)
    with pytest.raises(HeadraceError, match=r"stock\.file must name items of the version, such as 'item-0é'"):
        follower.read()
    assert follower.held == BLOCKED


def test_where_the_file_is_not_seen_the_rules_of_the_submission_hold(tmp_path: Path) -> None:
    follower = RulesFollower(tmp_path / "elsewhere" / "rules.toml", BLOCKED)
    with pytest.raises(OSError, match=r"elsewhere/rules\.toml"):
        follower.read()
    assert (follower.look(), follower.look(), follower.held) == (False, False, BLOCKED)
