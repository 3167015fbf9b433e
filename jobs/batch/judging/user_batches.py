"""Arrow batches of users' rows that split no user."""

from collections.abc import Iterable, Iterator

import pandas as pd

Batches = Iterable[pd.DataFrame]


def whole_users(batches: Batches) -> Iterator[pd.DataFrame]:
    """Yields batches that split no user. batches: sorted by user; Arrow cuts them anywhere."""
    rest: pd.DataFrame | None = None
    for rows in batches:
        rows = rows if rest is None else pd.concat([rest, rows], ignore_index=True)
        if rows.empty:
            continue
        last = (rows["user_id"] == rows["user_id"].iloc[-1]).to_numpy()
        if not last.all():
            yield rows[~last]
        rest = rows[last]
    if rest is not None:
        yield rest
