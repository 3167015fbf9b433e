"""Real clicks from public files that the user brings: each loader yields records of schemas/click.avsc in time order.

    >>> for click in open_dataset("movielens", Path("ml-100k")):     # doctest: +SKIP
    ...     print(click["user_id"], click["item_id"], click["rating"])

Files are read in place, a slice at a time. The n-th row has the event_id `{dataset}:{n}`, so that a second replay is
recognised.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from headrace.edge.datasets import movielens, online_retail, yoochoose
from headrace.edge.datasets.columns import Click, Clicks, DatasetError

__all__ = ["DATASETS", "Click", "Clicks", "Dataset", "DatasetError", "find", "open_dataset"]


class Dataset(NamedTuple):
    title: str
    files: tuple[str, ...]  # where to look in a folder, in this order
    open: Callable[[Path], Clicks]


DATASETS = {
    "online-retail": Dataset(
        "UCI Online Retail", ("online_retail.csv.xz", "online_retail.csv"), online_retail.open_clicks
    ),
    "yoochoose": Dataset("YooChoose clicks", ("yoochoose_17days.parquet", "yoochoose.parquet"), yoochoose.open_clicks),
    "movielens": Dataset("MovieLens 100K", ("ml-100k/ml-100k.inter", "ml-100k.inter"), movielens.open_clicks),
}


def find(name: str, path: Path) -> Path:
    """The file of a data set: `path` itself, or in the folder `path` under one of its usual names."""
    if name not in DATASETS:
        raise DatasetError(f"the data set must be one of {', '.join(DATASETS)}, got {name!r}")
    if not path.is_dir():
        return path
    places = [path / file for file in DATASETS[name].files]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{path} must hold {' or '.join(DATASETS[name].files)}, found neither")
    return found


def open_dataset(name: str, path: Path) -> Clicks:
    file = find(name, path)
    return DATASETS[name].open(file)
