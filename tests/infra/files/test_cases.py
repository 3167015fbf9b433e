"""Small files with the columns and quirks of real ones: exact events, repeats and refusals of each."""

from collections import Counter
from typing import Any

import pytest

from headrace.infra.files.mapping import Mapping
from headrace.infra.files.preview import proposal
from tests.infra.files.reading import CASES, read

RATED = {"action": "rate"}
NUMBERS = Mapping(columns=("user_id", "item_id", "rating", "ts_ms"), default=RATED, time="s")
RETAIL = {"user_id": "CustomerID", "item_id": "StockCode", "ts_ms": "InvoiceDate", "price": "UnitPrice"}
RETAIL |= {"quantity": "Quantity"}
ROCKET = {"user_id": "visitorid", "item_id": "itemid", "ts_ms": "timestamp", "action": "event"}
REVIEWS = {"user_id": "reviewerID", "item_id": "asin", "rating": "overall"}
STORE = {"item_id": "product_id", "ts_ms": "event_time", "action": "event_type"}
BOUGHT = {"action": "purchase"}
OURS = {"addtocart": "cart", "transaction": "purchase"}


@pytest.mark.parametrize(
    ("name", "mapping", "events", "repeats", "refused"),
    [
        ("quotes.tsv", Mapping(time="ms"), 20, 0, {}),
        ("seconds.jsonl", Mapping(), 0, 0, {"value": 20}),
        ("seconds.jsonl", Mapping(time="ms"), 0, 0, {"value": 20}),
        ("seconds.jsonl", Mapping(time="s"), 20, 0, {}),
        ("impala_binary_ids.parquet", Mapping(time="ms"), 2, 0, {}),
        ("nobody.csv", Mapping(), 6, 0, {"missing": 42}),
        ("nobody.csv", Mapping(null=("user_id=0", "anonymous")), 0, 0, {"missing": 48}),
        ("pandas_floats.csv", Mapping(), 2, 0, {}),
        ("event_id_is_a_type.csv", Mapping(), 40, 36, {}),
        ("event_id_is_a_type.csv", Mapping(without=("event_id",)), 40, 0, {}),
        ("days_only.csv", Mapping(), 36, 0, {}),
        ("ragged_at_the_end.csv.gz", Mapping(time="ms"), 3_700, 0, {"row": 1}),
        ("names_of_other_things.csv", Mapping(), 2, 0, {}),
        ("zone_by_name.csv", Mapping(time="%Y-%m-%d %H:%M:%S %Z"), 1, 0, {"value": 1}),
        ("retailrocket_events.csv", Mapping(map=ROCKET, time="ms"), 150, 0, {"value": 34}),
        ("retailrocket_events.csv", Mapping(map=ROCKET, time="ms", action=OURS), 184, 0, {}),
        ("retailrocket_events.csv",
         Mapping(map={**ROCKET, "event_id": "transactionid"}, time="ms", action=OURS), 184, 14, {}),
        ("hm_transactions_train.csv",
         Mapping(map={"user_id": "customer_id", "item_id": "article_id", "ts_ms": "t_dat"}, default=BOUGHT), 80, 0, {}),
        ("amazon2014_reviews.json",
         Mapping(map=REVIEWS | {"ts_ms": "unixReviewTime"}, default=RATED), 0, 0, {"value": 60}),
        ("amazon2014_reviews.json",
         Mapping(map=REVIEWS | {"ts_ms": "unixReviewTime"}, default=RATED, time="s"), 60, 0, {}),
        ("amazon2018_reviews.json.gz",
         Mapping(map=REVIEWS | {"ts_ms": "reviewTime"}, default=RATED, time="%m %d, %Y"), 60, 0, {}),
        ("multi_category_2019-Oct.csv", Mapping(map=STORE), 82, 0, {}),
        ("otto_train_sessions.jsonl", Mapping(map={"user_id": "session", "item_id": "aid", "ts_ms": "ts"}, time="ms",
                                              default={"action": "click"}), 0, 0, {"missing": 25}),
        ("taobao_UserBehavior.csv", Mapping(columns=("user_id", "item_id", "category", "action", "ts_ms"), time="s"),
         8, 0, {"value": 72}),
        ("movielens_u.data", NUMBERS, 60, 0, {}),
        ("movielens_1m_ratings.dat", NUMBERS, 60, 0, {}),
        ("movielens_latest_small_ratings.csv",
         Mapping(map={"user_id": "userId", "item_id": "movieId", "ts_ms": "timestamp"}, default=RATED, time="s"),
         60, 0, {}),
        ("yoochoose-clicks.dat",
         Mapping(columns=("user_id", "ts_ms", "item_id", "category"), default={"action": "click"}), 70, 0, {}),
        ("uci_Online_Retail.xlsx", Mapping(map=RETAIL, default=BOUGHT), 48, 0, {"missing": 12}),
        ("kaggle_ecommerce_data.csv",
         Mapping(map=RETAIL, default=BOUGHT, time="%m/%d/%Y %H:%M"), 48, 0, {"missing": 12}),
        ("online_retail_II.csv",
         Mapping(map=RETAIL | {"user_id": "Customer ID", "price": "Price"}, default=BOUGHT), 48, 0, {"missing": 12}),
    ],
)  # fmt: skip
def test_a_file(name: str, mapping: Mapping, events: int, repeats: int, refused: dict[str, int]) -> None:
    found = read(CASES / name, mapping)
    assert (len(found.events), found.repeats, found.reasons) == (events, repeats, refused)


@pytest.mark.parametrize(
    ("name", "events", "repeats", "refused", "actions"),
    [
        ("retailrocket_events.csv", 184, 0, {}, {"view": 150, "purchase": 21, "cart": 13}),
        ("hm_transactions_train.csv", 80, 0, {}, {"purchase": 80}),
        ("amazon2014_reviews.json", 60, 0, {}, {"rate": 60}),
        ("amazon2018_reviews.json.gz", 60, 0, {}, {"rate": 60}),
        ("multi_category_2019-Oct.csv", 82, 0, {}, {"view": 71, "cart": 7, "purchase": 4}),
        ("otto_train_sessions.jsonl", 129, 0, {}, {"click": 122, "cart": 7}),
        ("taobao_UserBehavior.csv", 79, 0, {"value": 1}, {"view": 62, "cart": 8, "purchase": 5, "like": 4}),
        ("movielens_u.data", 60, 0, {}, {"rate": 60}),
        ("movielens_1m_ratings.dat", 60, 0, {}, {"rate": 60}),
        ("movielens_latest_small_ratings.csv", 60, 0, {}, {"rate": 60}),
        ("yoochoose-clicks.dat", 70, 0, {}, {"click": 70}),
        ("uci_Online_Retail.xlsx", 48, 0, {"missing": 12}, {"purchase": 48}),
        ("kaggle_ecommerce_data.csv", 48, 0, {"missing": 12}, {"purchase": 48}),
        ("online_retail_II.csv", 48, 0, {"missing": 12}, {"purchase": 48}),
        ("segment_track.jsonl", 38, 0, {"value": 13, "missing": 8},
         {"purchase": 14, "uncart": 12, "view": 7, "refund": 3, "cart": 2}),
        ("segment_track_array.json", 18, 0, {"value": 6, "missing": 5},
         {"purchase": 7, "uncart": 7, "view": 3, "cart": 1}),
        ("seconds.jsonl", 20, 0, {}, {"view": 20}),
        ("quotes.tsv", 20, 0, {}, {"view": 20}),
    ],
)  # fmt: skip
def test_what_is_proposed_for_a_file_of_which_nothing_is_said(
    name: str, events: int, repeats: int, refused: dict[str, int], actions: dict[str, int]
) -> None:
    mapping, why = proposal(CASES / name)
    assert why
    found = read(CASES / name, mapping)
    assert (len(found.events), found.repeats, found.reasons) == (events, repeats, refused)
    assert Counter(found.column("action")) == actions


def test_ids_and_times_are_what_a_person_reads() -> None:
    def first(name: str, **rules: Any) -> dict[str, Any]:
        mapping = Mapping(**rules) if rules else proposal(CASES / name)[0]
        return read(CASES / name, mapping).events[0]

    assert first("impala_binary_ids.parquet", time="ms")["user_id"] == "user-1"
    assert first("hm_transactions_train.csv")["item_id"] == "0386090017"
    assert first("hm_transactions_train.csv")["ts_ms"] == 1_537_401_600_000  # 2018-09-20
    assert first("online_retail_II.csv")["user_id"] == "90001"
    assert first("kaggle_ecommerce_data.csv")["ts_ms"] == 1_291_193_640_000  # 12/1/2010 8:54
    assert first("uci_Online_Retail.xlsx")["user_id"] == "90001"
    assert first("segment_track.jsonl")["price"] == 7.25
    assert first("segment_track.jsonl")["user_id"].startswith("dd821eb0")  # nobody's userId: the anonymousId
    assert first("yoochoose-clicks.dat")["ts_ms"] == 1_396_690_044_104
    assert first("quotes.tsv", time="ms")["user_id"] == "u0"


def test_what_a_row_loses_is_told() -> None:
    found = read(CASES / "names_of_other_things.csv")
    assert found.told.costs == {
        "quantity: must be whole": 1, "rating: must be >= 0": 1, "rating: must be <= 10": 1,
        "device: must have <= 64 characters": 1,
    }  # fmt: skip
    assert found.column("quantity") == [None, 1]
    less = read(CASES / "names_of_other_things.csv", Mapping(without=("rating", "device", "quantity")))
    assert not less.told.costs


def test_floats_of_another_program_are_told_and_mended() -> None:
    found = read(CASES / "pandas_floats.csv")
    assert found.column("user_id") == ["17850.0"] * 2
    assert found.column("quantity") == [6, None]
    assert found.told.dotted == {"user_id": True, "item_id": True}
    assert read(CASES / "pandas_floats.csv", Mapping(ids="int")).column("user_id") == ["17850"] * 2
    refund = read(CASES / "kaggle_ecommerce_data.csv", proposal(CASES / "kaggle_ecommerce_data.csv")[0])
    assert refund.notes == ["the encoding is cp1252, by its first bytes; --encoding says another"]


def test_a_zone_that_is_not_understood_is_refused_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    for zone in ("Europe/Amsterdam", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found = read(CASES / "zone_by_name.csv", Mapping(time="%Y-%m-%d %H:%M:%S %Z"))
        assert found.column("ts_ms") == [1_782_907_200_000]
        assert "the zone must be a name such as Europe/Amsterdam, got 'CEST'" in found.refused[0].detail
    monkeypatch.undo()
    time.tzset()


def test_equal_times_keep_the_order_of_the_file() -> None:
    found = read(CASES / "days_only.csv")
    of_u0 = sorted(
        (each["ts_ms"], each["event_id"], each["item_id"]) for each in found.events if each["user_id"] == "u0"
    )
    assert [item for *_, item in of_u0] == [f"i{n}" for n in range(12)]
