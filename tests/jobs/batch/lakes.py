"""Small lakes written by the tests themselves, so that the right answer is known."""

from typing import Any

import pandas as pd

T0_MS, HOUR_MS, DAY_MS = 1_769_900_400_000, 3_600_000, 86_400_000  # 2026-01-31T23:00Z
SCHEMA = """user_id STRING, event_id STRING, item_id STRING, action STRING, rating DOUBLE, t_ms BIGINT"""


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows need user_id and item_id; the n-th is event e{n}, a view, n milliseconds after T0_MS."""
    defaults = {"action": "view", "rating": None}
    whole = [{"event_id": f"e{n}", "t_ms": T0_MS + n} | defaults | row for n, row in enumerate(rows)]
    return pd.DataFrame(whole, columns=[column.split()[0] for column in SCHEMA.split(", ")])


def checkerboard(side: int) -> pd.DataFrame:
    """User u wants the items of their own parity but item u, which must therefore come first in their list."""
    cells = [(user, item) for user in range(side) for item in range(side) if user % 2 == item % 2 and user != item]
    return frame([{"user_id": f"u{user:03}", "item_id": f"i{item:03}"} for user, item in cells])
