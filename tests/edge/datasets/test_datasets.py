"""edge/datasets: handmade files for the edge cases, and the real files where they are."""

import lzma
import os
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.edge.datasets import DATASETS, Clicks, DatasetError, open_dataset, yoochoose
from headrace.infra.errors import HeadraceError
from headrace.udfs.contract import Contract, ContractError

DATA = Path(os.environ.get("HEADRACE_DATA") or Path(__file__).parents[4] / "shared" / "data")
RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
RETAIL = RETAIL_HEADER + (
    '536365,85123A,"HEART, WHITE",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n'
    "C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527,Norway\n"
    "536414,22139,,56,2010-12-01 11:52:00,0.0,,France\n"
    "536589,21777,damaged,-10,2010-12-01 08:26:00,0.0,,United Kingdom\n"
    "A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom\n"
)
RATINGS = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t242\t3\t881250949\n"
    "186\t302\t4\t881250948\n"
    "196\t51\t5\t881250949\n"
)
FILMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tKolya\t1996\tComedy\n"
    '302\tL.A. "Confidential\t1997\tCrime Thriller\n'
    "51\tUnknown\t\t\n"
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def sessions(path: Path, rows: list[tuple[int, int, int]]) -> Path:
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    pq.write_table(
        pa.table({name: pa.array(list(c), pa.int64()) for name, c in zip(yoochoose.COLUMNS, columns, strict=True)}),
        path,
    )
    return path


def said(click: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in click.items() if value is not None}


def refused(clicks: Clicks) -> list[str]:
    found = []
    for click in clicks:
        try:
            Contract.of("click").check(click)
        except ContractError as error:
            found.append(str(error))
    return found


def test_online_retail_by_hand(tmp_path: Path) -> None:
    clicks = open_dataset("online-retail", written(tmp_path / "online_retail.csv", RETAIL))
    first, write_off, refund, anonymous, bad_debt = list(clicks)
    assert said(first) == {
        "event_id": "online-retail:0000000000", "user_id": "17850", "item_id": "85123A", "action": "purchase",
        "ts_ms": 1291191960000, "price": 2.55, "quantity": 6, "location": "United Kingdom",
    }  # fmt: skip
    assert (refund["action"], refund["quantity"], refund["user_id"], refund["event_id"]) == (
        "refund",
        1,
        "14527",
        "online-retail:0000000001",
    )
    assert (anonymous["action"], anonymous["user_id"]) == ("purchase", "anonymous-536414")
    # Earlier in time, later in the file: the order is by time, the id by row.
    assert (write_off["action"], write_off["quantity"], write_off["event_id"]) == (
        "refund",
        10,
        "online-retail:0000000003",
    )
    assert [clicks.ms_at(n) for n in range(5)] == [click["ts_ms"] for click in clicks]
    assert refused(clicks) == []
    assert bad_debt["price"] is None
    assert "rows that lost a field: 1 (price (column 'UnitPrice'): must be >= 0)" in clicks.told


def test_online_retail_compressed_and_with_american_dates(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "online_retail.csv.xz", "wt") as file:
        file.write(RETAIL_HEADER + "536365,85123A,HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\n")
    (click,) = open_dataset("online-retail", tmp_path)
    assert click["ts_ms"] == 1291191960000


def test_movielens_by_hand(tmp_path: Path) -> None:
    written(tmp_path / "ml-100k.inter", RATINGS)
    without_films = list(open_dataset("movielens", tmp_path))
    written(tmp_path / "ml-100k.item", FILMS)
    clicks = list(open_dataset("movielens", tmp_path))
    assert said(clicks[0]) == {
        "event_id": "movielens:0000000001", "user_id": "186", "item_id": "302", "action": "rate", "ts_ms": 881250948000,
        "category": "Crime", "rating": 4.0,
    }  # fmt: skip
    assert [click["category"] for click in clicks] == ["Crime", "Comedy", None]
    assert [click["event_id"][-1] for click in clicks] == ["1", "0", "2"]
    assert [click["category"] for click in without_films] == [None] * 3


def test_yoochoose_by_hand(tmp_path: Path) -> None:
    clicks = open_dataset("yoochoose", sessions(tmp_path / "clicks.parquet", [(7, 10, 0), (8, 11, 0), (7, 12, 2)]))
    assert "times" in clicks.made_up
    assert [(c["event_id"], c["user_id"], c["item_id"], c["action"]) for c in clicks] == [
        ("yoochoose:0", "session-7", "10", "click"),
        ("yoochoose:1", "session-8", "11", "click"),
        ("yoochoose:2", "session-7", "12", "click"),
    ]
    midnight = yoochoose.FIRST_DAY_MS
    assert [c["ts_ms"] - midnight for c in clicks] == [0, yoochoose.DAY_MS // 2, 2 * yoochoose.DAY_MS]
    assert clicks.ms_at(2) == midnight + 2 * yoochoose.DAY_MS


def test_an_empty_file_has_no_clicks(tmp_path: Path) -> None:
    assert list(open_dataset("online-retail", written(tmp_path / "r.csv", RETAIL_HEADER))) == []
    assert list(open_dataset("yoochoose", sessions(tmp_path / "y.parquet", []))) == []


def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path) -> None:
    wrong = {
        ("online-retail", "Invoice,StockCode\n1,2\n"): "must be one of online-retail's forms .*, found Invoice, StockC",
        ("online-retail", ""): "must have rows, got an empty file",
        ("movielens", RATINGS.replace("rating", "stars")): "forms .*, found user_id:token, item_id:token, stars:float",
        ("yoochoose", RATINGS): "must be Parquet",
    }
    for (name, text), message in wrong.items():
        with pytest.raises(HeadraceError, match=message) as caught:
            list(open_dataset(name, written(tmp_path / "x", text)))
        assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="period must not decrease, got 0 after 1"):
        open_dataset("yoochoose", sessions(tmp_path / "y.parquet", [(1, 1, 1), (1, 1, 0)]))
    with pytest.raises(
        DatasetError, match=r"one of online-retail, yoochoose, movielens, .* or module:NAME, got 'netflix'"
    ):
        open_dataset("netflix", tmp_path)


def test_a_row_that_is_no_click_costs_that_row(tmp_path: Path) -> None:
    damaged = RETAIL.replace(",6,", ",six,").replace("2010-12-01 11:52:00", "yesterday")
    clicks = open_dataset("online-retail", written(tmp_path / "x.csv", damaged))
    assert (clicks.rows, sum(clicks.left_out.values())) == (4, 1)
    assert [click["quantity"] for click in clicks] == [None, 10, 1, 1]
    with pytest.raises(DatasetError, match="no row is a click"):
        open_dataset("online-retail", written(tmp_path / "x.csv", re.sub(r"201\d-", "in ", RETAIL)))


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone must be a file, found none"):
        open_dataset(name, tmp_path / "gone")
    rule = rf"must hold {DATASETS[name].files[0]}" if DATASETS[name].files else "must be a file"
    with pytest.raises(FileNotFoundError, match=rule):
        open_dataset(name, tmp_path)


# The real files.


def real(name: str) -> Clicks:
    try:
        return open_dataset(name, DATA)
    except FileNotFoundError as error:
        pytest.skip(f"{DATASETS[name].title} is not here: {error}")


@pytest.mark.parametrize("name", DATASETS)
def test_real_clicks_come_in_order_keep_the_contract_and_are_the_same_again(name: str) -> None:
    clicks = real(name)
    part = list(islice(clicks, 20_000))
    assert part == list(islice(clicks, 20_000))
    assert [c["ts_ms"] for c in part] == [clicks.ms_at(n) for n in range(len(part))]
    assert [c["ts_ms"] for c in part] == sorted(c["ts_ms"] for c in part)
    assert len({c["event_id"] for c in part}) == len(part)
    for click in part:
        Contract.of("click").check(click)


def test_all_of_online_retail() -> None:
    clicks = real("online-retail")
    actions: Counter[str] = Counter()
    users: set[str] = set()
    spend = 0.0
    for click in clicks:
        actions[click["action"]] += 1
        users.add(click["user_id"])
        spend += (click["price"] or 0) * click["quantity"] * (1 if click["action"] == "purchase" else -1)
    assert clicks.rows == 541_909
    assert actions == {"purchase": 531_285, "refund": 10_624}  # negative quantities: 9,288 cancelled, 1,336 written off
    assert sum(not user.startswith("anonymous-") for user in users) == 4372
    assert spend == pytest.approx(9_747_747.934 + 2 * 11_062.06)  # the published sum, without two negative prices


def test_all_of_movielens() -> None:
    clicks: list[dict[str, Any]] = list(real("movielens"))
    assert len(clicks) == 100_000
    assert {click["rating"] for click in clicks} == {1, 2, 3, 4, 5}
    assert all(click["category"] for click in clicks)
