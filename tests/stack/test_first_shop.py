"""docs/first-shop.md, line by line, on a machine without a checkout: from pip and a CSV to lists and features."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from headrace.infra import paths
from tests import installed
from tests.installed import Installation

PAGE = paths.PACKAGE / "docs" / "first-shop.md"
FILE = re.compile(r"<!-- file: (\S+) -->")
pytestmark = [pytest.mark.stack, pytest.mark.shop]


def script(page: str) -> str:
    """Returns the page's lines of code, in their order; a block after a mark of a file is written to it."""
    blocks, name = [], ""
    for is_code, lines in groupby(page.splitlines(), lambda line: line.startswith("    ") or not line):
        text = "\n".join(lines)
        if is_code and text.strip():
            code = re.sub(r"^    ", "", text.strip("\n"), flags=re.MULTILINE)
            blocks.append(f"cat > {name} <<'END_OF_FILE'\n{code}\nEND_OF_FILE" if name else code)
            name = ""
        elif mark := FILE.search(text):
            name = mark[1]
    return "\n".join(blocks)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Installation]:
    installation = installed.empty(tmp_path)
    yield installation
    installation.run("headrace", "--project", "shop", "down")


def test_the_page_does_what_it_says(newcomer: Installation, tmp_path: Path) -> None:
    built = installed.wheel(tmp_path / "built")
    (tmp_path / "constraint.txt").write_text(f"headrace @ {built.as_uri()}\n")  # this very wheel, not an index's
    code = script(PAGE.read_text())
    assert "pip install headrace" in code
    constraint = {"PIP_CONSTRAINT": str(tmp_path / "constraint.txt")}
    done = newcomer.run("/bin/bash", "-exc", code, timeout_s=900, COLUMNS="120", **constraint)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "9,000 events of 9,000 rows" in done.stdout
    assert re.search(r"^recs \['p\d+'(, 'p\d+'){4}\]$", done.stdout, re.MULTILINE)  # computed for the shopper
    assert re.search(r"^recent_items .*lamp-1", done.stdout, re.MULTILINE)
