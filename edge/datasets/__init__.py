"""Real clicks from public files that you bring: each loader yields records of schemas/click.avsc in time order.

    >>> for click in open_dataset("movielens", Path("ml-100k")):     # doctest: +SKIP
    ...     print(click["user_id"], click["item_id"], click["rating"])

Files are read in place, a slice at a time. The n-th row has the event_id `{dataset}:{n}`, so that Flink recognises a
second replay.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from headrace.edge.datasets.columns import Click, Clicks, DatasetError
from headrace.infra import extensions

__all__ = ["DATASETS", "Click", "Clicks", "Dataset", "DatasetError", "dataset", "find", "open_dataset"]


class Dataset(NamedTuple):
    title: str
    files: tuple[str, ...]  # where to look in a folder, in this order
    open: Callable[[Path], Clicks]


def _ours(module: str) -> Callable[[Path], Clicks]:
    """The loader of a module here. It imports pyarrow when a file is opened, so names and titles need no pyarrow."""

    def open_clicks(path: Path) -> Clicks:
        clicks: Clicks = import_module(f"headrace.edge.datasets.{module}").open_clicks(path)
        return clicks

    return open_clicks


DATASETS = {
    "online-retail": Dataset(
        "UCI Online Retail", ("online_retail.csv.xz", "online_retail.csv"), _ours("online_retail")
    ),
    "yoochoose": Dataset("YooChoose clicks", ("yoochoose_17days.parquet", "yoochoose.parquet"), _ours("yoochoose")),
    "movielens": Dataset("MovieLens 100K", ("ml-100k/ml-100k.inter", "ml-100k.inter"), _ours("movielens")),
}


def dataset(name: str) -> Dataset:
    """A data set of ours, or a shop's own by module:NAME: a Dataset, or a function from a file's path to its Clicks.

    Raises DatasetError for an unknown name, HeadraceError for a module that does not load.
    """
    if extensions.is_reference(name):
        own: Any = extensions.resolve("the data set", name)
        return own if isinstance(own, Dataset) else Dataset(name, (), own)
    if name not in DATASETS:
        raise DatasetError(f"the data set must be one of {', '.join(DATASETS)} or module:NAME, got {name!r}")
    return DATASETS[name]


def find(name: str, path: Path) -> Path:
    """The file of a data set: `path` itself, or in the folder `path` under one of its usual names.

    Raises FileNotFoundError where the folder holds none of them.
    """
    files = dataset(name).files
    if not path.is_dir() or not files:
        return path
    candidates = [path / file for file in files]
    file = next((each for each in candidates if each.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{path} must hold {' or '.join(files)}, found neither")
    return file


def open_dataset(name: str, path: Path) -> Clicks:
    """The clicks of a data set. Raises DatasetError if the file is not the one that its loader reads."""
    return dataset(name).open(find(name, path))
