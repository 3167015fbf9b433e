"""A preview says what a file would bring, and what to type."""

import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.files import preview
from headrace.infra.files.mapping import Mapping
from tests.infra.files.reading import CASES


def shown(name: str, mapping: Mapping | None = None) -> str:
    return "\n".join(preview.show(CASES / name, mapping or Mapping()))


def test_a_file_that_is_known() -> None:
    said = shown("retailrocket_events.csv")
    assert "it looks like RetailRocket events" in said
    assert (
        "184 events, 0 repeats, 0 refused\n150 users, 164 items; 2015-06-01 23:05 to 2015-06-02 00:14 UTC, 2 days"
        in said
    )
    assert "150 view, 21 purchase, 13 cart" in said
    assert said.count("\n  2015-06-0") == 10
    assert said.endswith("--action addtocart=cart,transaction=purchase --time ms")


def test_what_is_refused_says_what_to_type() -> None:
    columns = {"user_id": "visitorid", "item_id": "itemid", "ts_ms": "timestamp", "action": "event"}
    said = shown("retailrocket_events.csv", Mapping(map=columns, time="ms"))
    assert "rows of actions that are not ours: 34; --action 'transaction=purchase,addtocart=cart' takes them" in said
    assert "refused 21: value: action (column 'event'): 'transaction'; --action transaction=purchase names it" in said
    assert "--without event_id" in shown("event_id_is_a_type.csv")
    assert "--null user_id=anonymous" in shown("nobody.csv")
    assert "--ids int reads 17850.0 as 17850" in shown("pandas_floats.csv")


def test_a_file_that_does_not_fit_shows_its_columns() -> None:
    lines: list[str] = []
    with pytest.raises(HeadraceError, match="must have a column 'user_id'"):
        lines.extend(preview.show(CASES / "retailrocket_events.csv", Mapping(time="ms")))
    assert "  'visitorid': '1128734'" in lines


def test_a_part_of_a_large_file() -> None:
    found = preview.summary(CASES / "ragged_at_the_end.csv.gz", Mapping(time="ms"), limit=100)
    assert (found.tally.rows, found.is_whole) == (100, False)
    assert preview.summary(CASES / "ragged_at_the_end.csv.gz", Mapping(time="ms")).is_whole
