"""Real clicks from files that you bring: public data sets by their names, and any other file with a mapping.

    >>> for click in open_dataset("movielens", Path("ml-100k")):     # doctest: +SKIP
    ...     print(click["user_id"], click["item_id"], click["rating"])

Files are read in place. The n-th row has the event_id `{dataset}:{n}`, so that Flink recognises a second replay.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.edge.datasets.columns import Click, Clicks, DatasetError
from headrace.infra import extensions

if TYPE_CHECKING:
    from headrace.infra.files.events import Adapt
    from headrace.infra.files.mapping import Mapping

__all__ = ["DATASETS", "Click", "Clicks", "Dataset", "DatasetError", "dataset", "find", "known", "open_dataset"]


class Dataset(NamedTuple):
    title: str
    files: tuple[str, ...]  # where to look in a folder, in this order
    open: Callable[[Path], Clicks]


def _opener(name: str) -> Callable[[Path], Clicks]:
    """The loader of a data set. It imports pyarrow when a file is opened, so names and titles need no pyarrow."""

    def open_clicks(path: Path) -> Clicks:
        from headrace.edge.datasets import files

        reading = known(name, path)
        if reading is None:
            clicks: Clicks = import_module("headrace.edge.datasets.yoochoose").open_clicks(path)
            return clicks
        return files.read([path], reading.mapping, name, reading.adapt)

    return open_clicks


class Reading(NamedTuple):
    """How the file of a data set is read: its mapping, and what changes a row before it."""

    mapping: "Mapping"
    adapt: "Adapt | None"


def known(name: str, path: Path) -> Reading | None:
    """Returns how a file of a data set of ours is read; None for that of YooChoose without times, and for others' sets.

    Raises DatasetError if the file is none of the set's, FileNotFoundError if it is not there.
    """
    from headrace.infra.files import formats

    if name not in DATASETS:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file, found none")
    form = formats.recognise(path, name)
    if form is None and name == YOOCHOOSE:
        return None
    if form is None:
        titles = "; ".join(form.title for form in formats.FORMATS[name])
        raise DatasetError(f"{path} must be one of {name}'s forms ({titles}), found {formats.columns_of(path)}")
    adapted = import_module(f"headrace.edge.datasets.{ADAPTED[name]}").adapted(path) if name in ADAPTED else None
    return Reading(form.mapping, adapted)


YOOCHOOSE = "yoochoose"
ADAPTED = {"online-retail": "online_retail", "movielens": "movielens"}
# What a folder of a data set holds, in the order of preference.
FILES = {
    "online-retail": ("UCI Online Retail", ("online_retail.csv.xz", "online_retail.csv", "Online Retail.xlsx")),
    YOOCHOOSE: ("YooChoose", ("yoochoose_17days.parquet", "yoochoose.parquet", "yoochoose-clicks.dat")),
    "movielens": (
        "MovieLens",
        ("ml-100k/ml-100k.inter", "ml-100k.inter", "u.data", "ratings.csv", "ratings.dat"),
    ),
    "retailrocket": ("RetailRocket", ("events.csv",)),
    "hm": ("H&M", ("transactions_train.csv",)),
    "amazon-reviews": ("Amazon reviews", ()),
    "multi-category-store": ("Kaggle's multi-category store", ()),
    "otto": ("OTTO", ("train.jsonl", "otto-recsys-train.jsonl")),
    "taobao": ("Taobao user behaviour", ("UserBehavior.csv",)),
    "segment": ("Segment's track calls", ()),
    "histories": ("Histories without times", ("amazon-beauty/Beauty.txt", "Beauty.txt")),
}
DATASETS = {name: Dataset(title, files, _opener(name)) for name, (title, files) in FILES.items()}


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
        raise FileNotFoundError(f"{path} must hold {' or '.join(files)}, found none of them")
    return file


def open_dataset(name: str, path: Path) -> Clicks:
    """The clicks of a data set. Raises DatasetError if the file is not the one that its loader reads."""
    return dataset(name).open(find(name, path))
