"""The families by the names that night.models gives them, and the models that they trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.infra import extensions
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import NightSettings
from headrace.infra.versions import model_files
from headrace.udfs.recommenders.contract import Family, LiveScorer, Recommender

HERE = __name__.rpartition(".")[0]


def family(name: str, setting: str = "night.models") -> Family:
    """Returns the family of a name, or of a shop's own by `module:NAME`. Raises HeadraceError if there is none."""
    if extensions.is_reference(name):
        return extensions.resolve_kind(setting, name, Family)
    found = import_module(f"{HERE}.{name}") if name.isidentifier() and find_spec(f"{HERE}.{name}") else None
    if not isinstance(own := getattr(found, "FAMILY", None), Family):
        raise HeadraceError(f"{setting} must name a family (docs/families.md) or module:NAME, got {name!r}")
    return own


def settings(name: str, night: NightSettings) -> Any:
    """Returns the settings of a family. Raises HeadraceError for one that it does not know or does not take."""
    own = family(name).settings
    if isinstance(section := getattr(night, name, None), own):
        return section
    try:
        return own(**night.families.get(name, {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["night.families", name, *map(str, first["loc"])])
        unknown = f"; the settings of {name} are {', '.join(own.model_fields)}"  # type: ignore[attr-defined]
        rule = f"unknown setting{unknown}" if first["type"] == "extra_forbidden" else first["msg"]
        raise HeadraceError(f"{where}: {rule}, got {first['input']!r}") from None


def load(folder: Path) -> Recommender:
    """Opens a model for the night. Raises HeadraceError whatever is wrong with it or with its family."""
    with _opening(folder):
        return _of(folder).load(folder)


def live(folder: Path) -> LiveScorer:
    """Opens a model for the stream: numpy and the standard library alone. Raises as `load`."""
    with _opening(folder):
        return _of(folder).live(folder)


@contextmanager
def _opening(folder: Path) -> Iterator[None]:
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:  # a family may be anybody's, and a file may hold anything
        raise HeadraceError(f"{folder} does not open: {type(error).__name__}: {error}") from error


def is_live(folder: Path) -> bool:
    """Returns whether the stream asks the model as the night does."""
    return _of(folder).live is _of(folder).load


def _of(folder: Path) -> Family:
    # Up to 0.2.0 the stream served every kind by least squares, and a version had no more than that needs.
    name = model_files.description(folder).kind if (folder / model_files.MODEL).is_file() else "als"
    return family(name, f"{folder / model_files.MODEL}: kind")
