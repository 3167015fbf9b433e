"""Files of item ids as people bring them: encodings, line ends, headers, quotes, other columns."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.errors import HeadraceError
from headrace.infra.versions import item_ids

ENCODINGS = st.sampled_from(("utf-8", "utf-8-sig", "utf-16"))
ENDS = st.sampled_from(("\n", "\r\n"))
CHARACTERS = st.sampled_from(",;|: .'\"ab0") | st.characters(codec="utf-8", exclude_categories=["Cc"])
# Any id but blanks around it: those are left off.
IDS = st.lists(
    st.text(CHARACTERS, min_size=1).filter(
        lambda each: each == each.strip() and not each.startswith(('"', "{", "[", "PAR1", "PK"))
    ),
    min_size=1,
    max_size=6,
)


def read(content: bytes, name: str = "ids.txt") -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return item_ids.ids(path)


@given(IDS, ENCODINGS, ENDS, st.sampled_from(("", "item_id")), st.booleans())
def test_an_id_a_line(ids: list[str], encoding: str, end: str, header: str, quoted: bool) -> None:
    written = ['"' + each.replace('"', '""') + '"' if quoted else each for each in ids]
    lines = [*([header] if header else []), *written, "", ""]
    ids = ids[1:] if not header and ids[0].casefold() == "item_id" else ids
    assert read(end.join(lines).encode(encoding)) == ids


@given(IDS, ENCODINGS, st.sampled_from(",;|"), ENDS)
def test_a_table_with_a_column(ids: list[str], encoding: str, delimiter: str, end: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerows([("qty", " Item_ID", "note"), *((n, each, "x") for n, each in enumerate(ids))])
    assert read(file.getvalue().encode(encoding), "stock.csv") == ids


def test_lines_end_at_line_feeds_alone() -> None:
    assert read("a\u0085b\nc\u2028d\r\ne\x0bf".encode()) == ["a\u0085b", "c\u2028d", "e\x0bf"]


def test_other_forms() -> None:
    rows = [{"item_id": "lamp"}, {"item_id": 17850}, {"item_id": 13.0}]
    assert read("\n".join(map(json.dumps, rows)).encode(), "ids.jsonl") == ["lamp", "17850", "13"]
    assert read(json.dumps(rows).encode(), "ids.json") == ["lamp", "17850", "13"]
    assert read(b'"a ""b"""\n"\nc"') == ['a "b"', '"', 'c"']
    assert read(b'[new] lamp\n"a, b"\nc, d\n') == ["[new] lamp", "a, b", "c, d"]
    assert read(b'item_id\tqty\nlamp "40" W\t1\n0017\t2\n', "ids.tsv") == ['lamp "40" W', "0017"]


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xff\xfe", "item_id\n".encode("utf-16")])
def test_nothing_is_no_id(content: bytes) -> None:
    assert read(content) == []


WRONG = {
    "latin-1": ("lamp\nM\xf6bel\n".encode("latin-1"), r"ids\.txt, row 2: must be utf-8, got byte 0xf6.*as UTF-8"),
    "a list of latin-1": ("M\xf6bel\nB\xfcro\nT\xfcr\n".encode("latin-1"), r"ids\.txt, row 1: must be utf-8"),
    "no such column": (b'{"sku": "a"}\n', r"ids\.txt, row 1: must have a column item_id, found sku"),
    "null": (b'{"item_id": null}\n', r"ids\.txt, row 1: item_id must be text or a number, got None"),
    "a damaged row": (b"item_id,qty\na,1\nb,2,3\n", r"ids\.txt, row 2: must have 2 cells, found 3"),
    "a document": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", r"ids\.txt, row 2: must be utf-8, got byte 0xe2"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_names_file_row_and_value(content: bytes, said: str) -> None:
    with pytest.raises(HeadraceError, match=said):
        read(content)
