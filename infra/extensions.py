"""A shop's own extensions, named by `module:NAME`: a policy, an encoder, a data set, a node's trainer, a model.

The module is one that Python can import, or a file of the project.
"""

import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

from headrace.infra import paths
from headrace.infra.errors import HeadraceError

T = TypeVar("T")


def is_reference(name: str) -> bool:
    return ":" in name


def label(name: str) -> str:
    """Returns the name as a task, a folder and a version have it: `shop.mine:NAME` is shop.mine.NAME."""
    return name.replace(":", ".")


def modules() -> list[Path]:
    """Returns the modules and packages of the project's folder, which a worker elsewhere must be given."""
    folder = paths.project()
    found = sorted(folder.iterdir()) if folder else []
    return [each for each in found if each.suffix == ".py" or (each / "__init__.py").is_file()]


def resolve(setting: str, reference: str) -> Any:
    """Returns the object that a reference names. Raises HeadraceError with the setting if it does not load."""
    project = paths.project()
    if project and str(project) not in sys.path:
        sys.path.append(str(project))
    try:
        return resolve_name(reference)
    except Exception as error:  # it is somebody's module, which may raise anything
        raise HeadraceError(f"{setting} must be module:NAME, got {reference!r}, which does not load: {error}") from None


def resolve_kind(setting: str, reference: str, kind: type[T]) -> T:
    """Returns the object that a reference names. Raises HeadraceError if it does not load or is of another kind."""
    extension = resolve(setting, reference)
    if not isinstance(extension, kind):
        raise HeadraceError(
            f"{setting} must name an object of {kind.__name__}, got {reference!r}, of {type(extension).__name__}"
        )
    return extension
