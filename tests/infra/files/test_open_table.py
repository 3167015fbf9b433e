"""The same table in every form, packing and encoding gives the same events; damage costs the rows that it hits."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from headrace.infra.errors import HeadraceError
from headrace.infra.files.mapping import Mapping
from headrace.infra.files.open_table import Damage, TableForm, table
from headrace.infra.files.streams import files
from tests.infra.files.reading import read

NAMES = ("user_id", "item_id", "action", "ts_ms", "query")
MS = Mapping(time="ms")
FIRST_MS = 1_767_348_000_000
Rows = list[tuple[str, str, str, int, str]]

# Letters of four alphabets, marks that formats use, blanks within.
TEXT = st.text("abcXYZ019 éß£,;|:'\"\\[{日本🙂", min_size=1, max_size=12)
IDS = TEXT.map(lambda text: f"x{text}y")  # nobody is called NULL here
LATIN = st.text("abcXYZ019 éß£,;|:'", min_size=1, max_size=12).map(lambda text: f"x{text}y")


def rows_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[Rows]:
    actions = st.sampled_from(("view", "cart", "purchase"))
    times = st.integers(FIRST_MS, FIRST_MS + 10_000_000)
    return st.lists(st.tuples(text, text, actions, times, text), min_size=1, max_size=8)


def delimited(rows: Rows, delimiter: str, encoding: str = "utf-8") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([NAMES, *rows])
    return out.getvalue().encode(encoding)


def json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) + "\n" for row in rows).encode()


def array(rows: Rows, indent: int | None = None) -> bytes:
    return json.dumps([dict(zip(NAMES, row, strict=True)) for row in rows], indent=indent).encode()


def parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))), out)
    return out.getvalue()


def workbook(rows: Rows) -> bytes:
    book, out = Workbook(), io.BytesIO()
    for row in (NAMES, *rows):
        book.active.append([f"'{cell}"[1:] if isinstance(cell, str) else cell for cell in row])
    book.save(out)
    return out.getvalue()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inside.bin", content)
        archive.writestr("__MACOSX/._inside.bin", b"\x00")
    return out.getvalue()


def zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "a.csv": lambda rows: delimited(rows, ","),
    "semicolons.csv": lambda rows: delimited(rows, ";"),
    "bars.txt": lambda rows: delimited(rows, "|"),
    "a.jsonl": json_lines,
    "marked.jsonl": lambda rows: b"\xef\xbb\xbf" + json_lines(rows),
    "array.json": array,
    "pretty.json": lambda rows: array(rows, indent=2),
    "objects.json": lambda rows: b"\n".join(json.dumps(each, indent=1).encode() for each in json.loads(array(rows))),
    "a.parquet": parquet,
    "a.csv.gz": lambda rows: gzip.compress(delimited(rows, ",")),
    "a.csv.bz2": lambda rows: bz2.compress(delimited(rows, ",")),
    "a.jsonl.xz": lambda rows: lzma.compress(json_lines(rows)),
    "a.csv.zst": lambda rows: zstandard(delimited(rows, ",")),
    "a.parquet.gz": lambda rows: gzip.compress(parquet(rows)),
    "a.csv.zip": lambda rows: zipped(delimited(rows, ",")),
    "marked.csv": lambda rows: delimited(rows, ",", "utf-8-sig"),
    "utf16.csv": lambda rows: delimited(rows, ",", "utf-16"),
    "utf16-be.csv": lambda rows: b"\xfe\xff" + delimited(rows, ",", "utf-16-be"),
    "utf16.json": lambda rows: array(rows, indent=2).decode().encode("utf-16"),
}


def expected(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


def brought(path: Path, mapping: Mapping = MS) -> list[tuple[Any, ...]]:
    found = read(path, mapping)
    assert found.refused == []
    return [tuple(each.get(name) for name in NAMES) for each in found.events]


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=15)
@given(rows=rows_of(IDS))
def test_every_form_gives_the_same_events(tmp_path_factory: pytest.TempPathFactory, name: str, rows: Rows) -> None:
    path = tmp_path_factory.mktemp("form") / name
    path.write_bytes(FORMS[name](rows))
    delimiter = {"semicolons.csv": ";", "bars.txt": "|"}.get(name, "")
    assert brought(path, Mapping(time="ms", delimiter=delimiter)) == expected(rows)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@settings(max_examples=15)
@given(rows=rows_of(LATIN))
def test_western_encodings(tmp_path_factory: pytest.TempPathFactory, encoding: str, rows: Rows) -> None:
    path = tmp_path_factory.mktemp("form") / "a.csv"
    path.write_bytes(delimited(rows, ",", encoding))
    assert brought(path, Mapping(time="ms", encoding=encoding)) == expected(rows)


@settings(max_examples=10)
@given(rows=rows_of(st.text("abcXYZ019é日 '", min_size=1, max_size=9).map(lambda text: f"x{text}y")))
def test_a_workbook_gives_the_same_events(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    path = tmp_path_factory.mktemp("form") / "a.xlsx"
    path.write_bytes(workbook(rows))
    assert brought(path) == expected(rows)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.tsv"])
@settings(max_examples=60)
@given(data=st.data(), count=st.integers(2, 30))
def test_damage_costs_the_rows_that_it_hits(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, count: int
) -> None:
    """A byte put in, changed or cut off: each row that is left of the file is an event or a refusal, and once."""
    rows: Rows = [(f"u{n}", f"i{n}", "view", FIRST_MS + n, "plain text") for n in range(count)]
    whole = json_lines(rows) if name == "a.jsonl" else delimited(rows, "\t" if name == "a.tsv" else ",")
    header = 0 if name == "a.jsonl" else len(whole.split(b"\n")[0]) + 1
    place = data.draw(st.integers(header or 1, len(whole) - 1))
    damage = data.draw(st.sampled_from((b'"', b"\x00", b"\xff", b"{", b",", b"\\", b"'", b"x")))
    kind = data.draw(st.sampled_from(("put in", "changed", "cut")))
    after = {"put in": whole[place:], "changed": whole[place + 1 :], "cut": b""}[kind]
    damaged = whole[:place] + (b"" if kind == "cut" else damage) + after
    path = tmp_path_factory.mktemp("damage") / name
    path.write_bytes(damaged)
    found = read(path, MS)
    lines = sum(bool(line.strip()) for line in damaged[header:].split(b"\n"))
    assert len(found.events) + len(found.refused) == lines
    hit = whole[:place].count(b"\n") - bool(header)
    unhurt = {f"u{n}" for n in range(count) if n != hit}
    if kind == "put in":
        assert set(found.column("user_id")) >= unhurt


QUOTED = [
    ('u1,"a ""quoted"" word, and a comma",1', ["u1", 'a "quoted" word, and a comma', "1"]),
    ('u1,"over\ntwo lines",1', ["u1", "over\ntwo lines", "1"]),
    ('u1,"Untitled,1', ["u1", '"Untitled', "1"]),
    ('u1,5" disk,1', ["u1", '5" disk', "1"]),
    ('u1,"12" mix",1', ["u1", '"12" mix"', "1"]),
    ('u1,"{\\"a\\": 1}",1', ["u1", '{"a": 1}', "1"]),
    ('u1,"",1', ["u1", "", "1"]),
]


@pytest.mark.parametrize(("text", "cells"), QUOTED)
def test_quotes(tmp_path: Path, text: str, cells: list[str]) -> None:
    """In the middle of good rows, of which none is lost."""
    path = tmp_path / "a.csv"
    good = [f"u{n},plain,{n}" for n in range(5)]
    path.write_text("\n".join(["a,b,c", *good, text, *good]) + "\n")
    with table(path) as found:
        rows = list(found.rows)
    assert [row for row in rows if isinstance(row, Damage)] == []
    assert list(rows[5].values()) == cells  # type: ignore[union-attr]
    assert len(rows) == 11


@pytest.mark.parametrize("gap", [1, 2, 500, 3_000])
@pytest.mark.parametrize("closing", ['"', 'Vinyl 7"', '12" mix"'])
def test_two_lone_quotes_swallow_nothing(tmp_path: Path, gap: int, closing: str) -> None:
    rows = [f"u{n},i{n},{FIRST_MS + n},view,plain" for n in range(gap + 2)]
    rows[0] = f'u0,i0,{FIRST_MS},view,"Untitled'
    rows[gap] = f"u{gap},i{gap},{FIRST_MS + gap},view,{closing}"
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["user_id,item_id,ts_ms,action,query", *rows]) + "\n")
    found = read(path, MS)
    assert found.column("user_id") == [f"u{n}" for n in range(gap + 2)]


def test_an_array_that_breaks_goes_on_with_its_next_object(tmp_path: Path) -> None:
    rows: Rows = [(f"u{n}", "i", "view", FIRST_MS, "q") for n in range(4)]
    text = array(rows, indent=2).decode().replace('"u1",', '"u1')
    (tmp_path / "a.json").write_text(text)
    found = read(tmp_path / "a.json", MS)
    assert (found.column("user_id"), found.reasons) == (["u0", "u2", "u3"], {"json": 1})


GOOD = '{"user_id": "u%d", "item_id": "i", "action": "view", "ts_ms": "2026-01-02"}'
BAD = '{"user_id": "u9", "item_id": }'


@pytest.mark.parametrize("first", ["[", "[\n", "[\n  "])
def test_each_object_after_a_broken_one_is_found(tmp_path: Path, first: str) -> None:
    """Beside the bracket, as Postgres prints, on lines of their own, and indented."""
    between = ",\n  " if first.endswith(" ") else ",\n " if first == "[" else ",\n"
    rows = [GOOD % n for n in range(5)]
    for place in (0, 2, 5):
        broken = [*rows[:place], BAD, *rows[place:]]
        (tmp_path / "a.json").write_text(first + between.join(broken) + "]")
        found = read(tmp_path / "a.json")
        assert (found.column("user_id"), found.reasons) == ([f"u{n}" for n in range(5)], {"json": 1})


def test_an_array_on_one_line_that_breaks_is_not_half_imported(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"[{GOOD % 1},{BAD},{GOOD % 2},{GOOD % 3}]")
    with pytest.raises(HeadraceError, match="nothing tells where the next object begins"):
        read(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(f"[{GOOD % 1},{GOOD % 2},{BAD}")  # cut
    assert (len(read(tmp_path / "a.json").events), read(tmp_path / "a.json").reasons) == (2, {"json": 1})


def test_an_array_of_another_encoding(tmp_path: Path) -> None:
    rows = [{"user_id": name, "item_id": "i", "action": "view", "ts_ms": "2026-01-02"} for name in ("Müller", "Möller")]
    (tmp_path / "a.json").write_bytes(json.dumps(rows, ensure_ascii=False).encode("cp1252"))
    assert read(tmp_path / "a.json").column("user_id") == ["Müller", "Möller"]
    mixed = (
        json.dumps(rows[0], ensure_ascii=False).encode()
        + b",\n"
        + json.dumps(rows[1], ensure_ascii=False).encode("cp1252")
    )
    (tmp_path / "a.json").write_bytes(b"[\n" + mixed + b"\n]")
    found = read(tmp_path / "a.json")
    assert (found.column("user_id"), found.reasons) == (["Müller"], {"value": 1})


@pytest.mark.parametrize(
    ("name", "content", "mapping"),
    [
        ("german.csv", 'user_id;item_id;"Preis, netto";action;ts_ms;query\nu;i;"12,99";view;2026-01-02;"a\nb"\n',
         {"price": "Preis, netto"}),
        ("one.csv", "user_id,item_id,action,ts_ms,price,a;b\nu,i,view,2026-01-02,12.99,a;b\n", {}),
        ("excel.csv", "sep=;\nuser_id;item_id;action;ts_ms;price\nu;i;view;2026-01-02;12,99\n", {}),
        ("blanks.csv", 'user_id, item_id, action, ts_ms, price\nu, "i", view, 2026-01-02, 12.99\n', {}),
        ("quoted.tsv",
         '"user_id"\t"item_id"\t"action"\t"ts_ms"\t"price"\n"u"\t"i"\t"view"\t"2026-01-02"\t"12.99"\n', {}),
        ("server.csv", "[user_id],item_id,action,ts_ms,price\nu,i,view,2026-01-02,12.99\n", {"user_id": "[user_id]"}),
        ("commas.jsonl",
         '{"user_id":"u","item_id":"i","action":"view","ts_ms":"2026-01-02T00:00:00z","price":"$12.99"},\n', {}),
    ],
)  # fmt: skip
def test_what_other_programs_write(tmp_path: Path, name: str, content: str, mapping: dict[str, str]) -> None:
    (tmp_path / name).write_text(content)
    found = read(tmp_path / name, Mapping(map=mapping))
    assert found.refused == []
    assert [(each["user_id"], each["item_id"], each["price"]) for each in found.events] == [("u", "i", 12.99)]


@pytest.mark.parametrize(
    ("text", "items"),
    [("['a', 'b']", ["a", "b"]), ('["a/b"]', ["a/b"]), ("[1, 2]", ["1", "2"]), ("['a' 'b']", None), ("[1 2]", None)],
)
def test_a_list_in_a_cell(tmp_path: Path, text: str, items: list[str] | None) -> None:
    (tmp_path / "a.csv").write_text(f"user_id;items\nu;{text}\n")
    rules = {"map": {"item_id": "items[]"}, "default": {"action": "view", "ts_ms": "2026-01-02"}}
    found = read(tmp_path / "a.csv", Mapping(**rules))  # type: ignore[arg-type]
    assert found.column("item_id") == (items or [])
    assert found.reasons == ({} if items else {"value": 1})


def test_nobody_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id,action,ts_ms\n" + "".join(
        f"{user},i,view,2026-01-02\n" for user in ("0.0", "0", " Guest ", "u")))  # fmt: skip
    found = read(tmp_path / "a.csv", Mapping(null=("user_id=0", "guest"), ids="int"))
    assert (found.column("user_id"), found.reasons) == (["u"], {"missing": 3})


def test_parquet_that_python_cannot_hold(tmp_path: Path) -> None:
    far = pa.array([253_402_300_800_000, 1_767_312_000_000], pa.int64()).cast(pa.timestamp("ms"))
    columns = {"user_id": ["u", "v"], "item_id": ["i", "i"], "action": ["view", "view"], "ts_ms": far}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert (found.column("user_id"), found.reasons) == (["v"], {"value": 1})


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"encoding": "nope"}, "--encoding must be that of a text"),
        ({"encoding": "hex"}, "--encoding must be that of a text"),
        ({"delimiter": "::", "quote": '"'}, "--quote needs one character"),
    ],
)
def test_a_form_that_there_is_not(tmp_path: Path, rules: dict[str, str], said: str) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id\nu,i\n")
    with pytest.raises(HeadraceError, match=said):
        read(tmp_path / "a.csv", Mapping(**rules))  # type: ignore[arg-type]


def test_what_a_refused_row_keeps_is_bounded(tmp_path: Path) -> None:
    row = {"user_id": "u", "ts_ms": "2026-01-02", "items": [{"id": f"i{n}", "what": "wink"} for n in range(3_000)]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    found = read(tmp_path / "a.jsonl", Mapping(map={"item_id": "items[].id", "action": "items[].what"}))
    assert len(found.refused) == 3_000
    assert sum(len(each.text) for each in found.refused) < 1_000_000


def test_the_border_of_a_line(tmp_path: Path) -> None:
    limit = 1 << 20
    begin = f"u,i,{FIRST_MS},view,"
    for length, refused in ((limit, {}), (limit + 1, {"size": 1})):
        text = begin + "x" * (length - len(begin))
        (tmp_path / "a.csv").write_text(f"{','.join(NAMES[:2])},ts_ms,action,query\n{text}\n{begin}short\n")
        found = read(tmp_path / "a.csv", MS)
        assert found.reasons == refused
        assert len(found.events) == 2 - len(refused)


def test_one_foreign_line_costs_that_line(tmp_path: Path) -> None:
    good = "".join(f"u{n},café,view,{FIRST_MS},q\n" for n in range(5)).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(
        ",".join(NAMES).encode() + b"\n" + good + "u9,café,view,1767348000000,q\n".encode("latin-1") + good
    )
    found = read(path, MS)
    assert (len(found.events), found.reasons) == (10, {"encoding": 1})
    assert "must be utf-8, got byte 0xe9" in found.refused[0].detail
    assert "--encoding cp1252" in found.refused[0].detail


@pytest.mark.parametrize(("foreign", "events", "refused"), [(1, 5, {"encoding": 1}), (2, 7, {})])
def test_few_foreign_lines_are_damage_and_more_are_another_encoding(
    tmp_path: Path, foreign: int, events: int, refused: dict[str, int]
) -> None:
    lines = [f"u{n},i,view,{FIRST_MS},q" for n in range(5)] + [f"v{n},i,view,{FIRST_MS},café" for n in range(foreign)]
    (tmp_path / "a.csv").write_bytes("\n".join([",".join(NAMES), *lines]).encode("latin-1"))
    found = read(tmp_path / "a.csv", MS)
    assert (len(found.events), found.reasons) == (events, refused)
    assert found.column("query")[5:] == ["café"] * (events - 5)


def test_a_negative_quantity_takes_back(tmp_path: Path) -> None:
    rows = [("purchase", -3), ("cart", -2), ("refund", -1), ("purchase", 0), ("view", -1)]
    text = "".join(f"u,i,{action},2026-01-02,{quantity}\n" for action, quantity in rows)
    (tmp_path / "a.csv").write_text(f"user_id,item_id,action,ts_ms,quantity\n{text}")
    found = read(tmp_path / "a.csv")
    assert found.column("action") == ["refund", "uncart", "refund", "purchase", "view"]
    assert found.column("quantity") == [3, 2, 1, 0, None]
    assert found.told.costs == {"quantity: must be >= 0": 1}


def test_a_workbook_that_says_too_small_a_size(tmp_path: Path) -> None:
    rows: Rows = [(f"u{n}", "i", "view", FIRST_MS, "q") for n in range(20)]
    with zipfile.ZipFile(io.BytesIO(workbook(rows))) as whole, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as small:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "xl/worksheets/sheet1.xml":
                assert b'<dimension ref="A1:E21"' in content
                content = content.replace(b'<dimension ref="A1:E21"', b'<dimension ref="A1:E2"')
            small.writestr(name, content)
    assert len(brought(tmp_path / "a.xlsx")) == 20


def test_types_of_parquet(tmp_path: Path) -> None:
    import uuid
    from datetime import UTC, date, datetime
    from decimal import Decimal

    own = uuid.UUID(int=1)
    for users, days, id_ in (
        (pa.array([own.bytes], pa.binary(16)), pa.array([date(2026, 1, 2)]), str(own)),
        (pa.array([17850.0]), pa.array([datetime(2026, 1, 2)], pa.timestamp("ns")), "17850"),  # noqa: DTZ001
        (
            pa.array([2**63 - 1]),
            pa.array([datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo")),
            f"{2**63 - 1}",
        ),
        (pa.array([Decimal("12.00")]), pa.array(["2026-01-02"]), "12"),
        (pa.array(["0017"]).dictionary_encode(), pa.array(["2026-01-02 00:00:00 UTC"]), "0017"),
    ):
        columns = {"user_id": users, "item_id": pa.array([b"sku-1"]), "ts_ms": days, "action": pa.array(["view"])}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        (event,) = read(tmp_path / "a.parquet").events
        assert (event["user_id"], event["item_id"], event["ts_ms"]) == (id_, "sku-1", 1_767_312_000_000)
    nobody = {"user_id": pa.array([float("nan")]), "item_id": pa.array([b"\xff"])}
    pq.write_table(pa.table(columns | nobody), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").reasons == {"missing": 1}


def test_a_number_that_is_none_in_json_lines(tmp_path: Path) -> None:
    rows = [{"user_id": "u", "item_id": "i", "action": "view", "ts_ms": "2026-01-02", "price": value} for value in (
        1.5, float("nan"), float("inf"))]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read(tmp_path / "a.jsonl")
    assert found.column("price") == [1.5, None, None]
    assert found.told.costs == {"price: must be finite": 1}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('"\\ud800"', {"value": 1}),
        (str(10**400), {"value": 1}),
        ("[" * 2_000 + "]" * 2_000, {"type": 1}),
        ('"\\u0000"', {}),
        ("[[1]]", {"type": 1}),
    ],
)
@pytest.mark.parametrize("form", ["%s\n", "[%s]", "[\n%s,\n%s]"])
def test_strange_json_costs_its_row(tmp_path: Path, form: str, text: str, refused: dict[str, int]) -> None:
    row = f'{{"user_id": {text}, "item_id": "i", "action": "view", "ts_ms": "2026-01-02"}}'
    (tmp_path / "a.json").write_text(form % ((row,) * form.count("%s")))
    found = read(tmp_path / "a.json")
    count = form.count("%s")
    assert len(found.events) + len(found.refused) == count
    assert sum(found.reasons.values()) == count * bool(refused)


@pytest.mark.parametrize("price", [str(10**400), "-1", "1e400", "NaN", '"\\ud800"', "{}"])
def test_a_strange_price_costs_the_price_at_most(tmp_path: Path, price: str) -> None:
    row = f'{{"user_id": "u", "item_id": "i", "action": "view", "ts_ms": "2026-01-02", "price": {price}}}'
    (tmp_path / "a.jsonl").write_text(row)
    assert read(tmp_path / "a.jsonl").column("price") == [None]


@pytest.mark.parametrize("time", ["iso", "s", "ms", "us", "ns", "%Y"])
@pytest.mark.parametrize(
    "moment", [str(10**400), "-1e300", "1e400", "{}", '"0001-01-01"', '"9999-12-31T23:59:59+00:00"']
)
def test_a_strange_time_costs_its_row_at_most(tmp_path: Path, time: str, moment: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"user_id": "u", "item_id": "i", "action": "view", "ts_ms": {moment}}}')
    found = read(tmp_path / "a.jsonl", Mapping(time=time))
    assert len(found.events) + len(found.refused) == 1


@pytest.mark.parametrize(("length", "refused"), [(256, {}), (257, {"value": 1})])
def test_the_border_of_an_id(tmp_path: Path, length: int, refused: dict[str, int]) -> None:
    (tmp_path / "a.csv").write_text(f"{','.join(NAMES[:4])}\n{'u' * length},i,view,2026-01-02\n")
    assert read(tmp_path / "a.csv").reasons == refused


def test_nested_fields(tmp_path: Path) -> None:
    rows = [
        {"who": {"id": 1}, "at": "2026-01-02", "order": {"items": [{"id": "a", "price": "1,50"}, {"id": "b"}]}},
        {"who": {"id": 2}, "at": "2026-01-02", "order": {"items": []}, "item": {"id": "c"}},
        {"who": None, "at": "2026-01-02", "order": None},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    names = {"user_id": "who.id", "ts_ms": "at", "item_id": "order.items[].id|item.id", "price": "order.items[].price"}
    found = read(tmp_path / "a.jsonl", Mapping(map=names, default={"action": "purchase"}))
    assert found.column("item_id") == ["a", "b", "c"]
    assert found.column("price") == [1.5, None, None]
    assert found.column("event_id") == ["f:0000000000:0", "f:0000000000:1", "f:0000000001"]
    assert found.reasons == {"missing": 1}


def test_a_shopper_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 7 8 9\n2 9\n")
    layout = {"columns": ("user_id", "items[]"), "delimiter": "space"}
    rules = {"map": {"item_id": "items[]"}, "default": {"action": "purchase", "ts_ms": "2000-01-01"}}
    found = read(tmp_path / "a.txt", Mapping(**layout, **rules))  # type: ignore[arg-type]
    assert [(each["user_id"], each["item_id"]) for each in found.events] == [
        ("1", "7"),
        ("1", "8"),
        ("1", "9"),
        ("2", "9"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "must have rows, got an empty file"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0rest", "got an Excel file of before 2007"),
        ("a.parquet", b"PAR1 and no more", "must be Parquet: "),
        ("a.csv.gz", gzip.compress(b"user_id,item_id,ts_ms,action\n" + b"a,b,c,d\n" * 50_000)[:-200], "cannot be read"),
        ("a.csv", b"user_id,user_id\n1,2\n", "must name each column once, found 'user_id' twice"),
        ("a.csv", b"1,2,3,4\n1,2,3,4\n", "these look like data: --columns NAME,... reads a file without a header"),
        ("a.zip", b"PK\x03\x04broken", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_file(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HeadraceError) as caught:
        read(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["part-0.csv", "part-0.jsonl", "part-0.parquet"])
def test_folders_that_are_columns(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "day=2026-01-02" / "action=cart"
    folder.mkdir(parents=True)
    rows: Rows = [("u", "i", "view", FIRST_MS, "q")]
    (folder / name).write_bytes(FORMS[f"a.{name.rpartition('.')[2]}"](rows))
    found = read(folder / name, Mapping(map={"ts_ms": "day"}))
    assert (found.column("ts_ms"), found.column("action")) == ([1_767_312_000_000], ["view"])  # a column comes first


def test_places(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl.gz", "deeper/c.parquet", "_SUCCESS", ".hidden.csv", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.tsv").touch()  # Spark leaves such parts
    assert [path.name for path in files(tmp_path)] == ["a.jsonl.gz", "b.csv", "c.parquet"]
    assert [path.name for path in files(f"{tmp_path}/*.csv")] == ["b.csv"]
    with pytest.raises(HeadraceError, match="must be a file, a folder or a glob of files, found none"):
        files(tmp_path / "gone.csv")


def test_a_workbook_of_several_sheets(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["user_id", "item_id"])
    book.active.append(["u1", 1])
    for title, header in (("2011", ["user_id", "item_id"]), ("about", ["text"])):
        sheet = book.create_sheet(title)
        sheet.append(header)
        sheet.append(["u2", 2.0][: len(header)])
    book.save(tmp_path / "a.xlsx")
    with table(tmp_path / "a.xlsx") as found:
        assert [row["user_id"] for row in found.rows if not isinstance(row, Damage)] == ["u1", "u2"]
        assert found.notes == ["sheet 'about' has other columns and is not read"]
    with (
        pytest.raises(HeadraceError, match="must have a sheet 'none', found Sheet, 2011, about"),
        table(tmp_path / "a.xlsx", TableForm(sheet="none")),
    ):
        pass
