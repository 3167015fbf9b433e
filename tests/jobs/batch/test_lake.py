"""The lake's promises: each event once, whole changes, the same rows for all steps of a night."""

import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobs.batch import lake
from schemas.topics import CLICKS
from tests import lakes
from tests.lakes import click

pytestmark = pytest.mark.spark
DAY_MS = 86_400_000
FIRST = date(2026, 1, 1)
FIRST_MS = 20_454 * DAY_MS


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Any:
    with lakes.home(tmp_path):
        yield tmp_path


def test_of_repeats_the_first_to_arrive_counts(spark: Any) -> None:
    """Repeats within a landing, across landings, and across days; another user's event of the same id is another."""
    rng = random.Random(1)
    sent = [click(rng.randrange(60), f"u{rng.randrange(3)}", f"i{n}", FIRST_MS + n * DAY_MS // 50) for n in range(300)]
    for part in (sent[:100], sent[100:]):
        lakes.append(spark, CLICKS, part)
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for record in sent:
        first.setdefault((record["user_id"], record["event_id"]), record)
    found = lake.clicks(spark, date(2026, 12, 31)).collect()
    assert len(found) == len(first)
    assert {(row.user_id, row.event_id): row.item_id for row in found} == {k: r["item_id"] for k, r in first.items()}
    assert all((row.day - FIRST).days == row.t_ms // DAY_MS - FIRST_MS // DAY_MS for row in found)


def test_a_night_takes_the_days_up_to_and_with_its_own(spark: Any) -> None:
    lakes.append(spark, CLICKS, [click(n, "u", "i", FIRST_MS + n * DAY_MS - 1) for n in range(1, 6)])
    assert [lake.clicks(spark, date(2026, 1, n)).count() for n in (1, 3, 9)] == [1, 3, 5]
    assert lake.clicks(spark, date(2025, 12, 31)).count() == 0
