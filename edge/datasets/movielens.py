"""MovieLens 100K: ratings with their real times (GroupLens; non-commercial, no redistribution).

It reads `ml-100k.inter`. The category of a film is its first genre in `ml-100k.item`, if that file is beside it.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.edge.datasets.columns import Click, Clicks
from headrace.edge.datasets.delimited_files import in_time_order, milliseconds, read

RATINGS = {
    "user_id:token": pa.string(),
    "item_id:token": pa.string(),
    "rating:float": pa.float64(),
    "timestamp:float": pa.float64(),
}
FILMS = {"item_id:token": pa.string(), "class:token_seq": pa.string()}


def open_clicks(path: Path) -> Clicks:
    table = read(path, RATINGS, delimiter="\t")
    ms = milliseconds(table["timestamp:float"])
    return in_time_order(
        table.drop_columns(["timestamp:float"]), ms, partial(_clicks, _genres(path.with_suffix(".item")))
    )


def _genres(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    films = read(path, FILMS, delimiter="\t")
    pairs = zip(*(films[name].to_pylist() for name in FILMS), strict=True)
    return {film: genres.split()[0] for film, genres in pairs if film and genres}


def _clicks(genres: dict[str, str], *columns: list[Any]) -> Iterator[Click]:
    for row, ms, user, item, rating in zip(*columns, strict=True):
        yield {
            "event_id": f"movielens:{row}",
            "user_id": user,
            "item_id": item,
            "action": "rate",
            "ts_ms": ms,
            "category": genres.get(item),
            "rating": rating,
        }
