"""`headrace init`: a folder of the shop's own, which every command finds from the working directory upwards."""

import shutil
from pathlib import Path

from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError

TEMPLATES = Path(__file__).parent / "project"
COPIED = ("rules.toml", "gates.toml", "checks.toml", "drift.toml")  # of infra/config


def write(folder: Path) -> list[str]:
    """The names of the files written; HeadraceError if one is there already, or if the folder is in another project."""
    folder = folder.expanduser().absolute()
    if outer := paths.enclosing_project(folder.parent):
        raise HeadraceError(f"{folder} is in the project {outer}, which it would hide: choose a folder outside of it")
    templates = {path.name: path.read_text() for path in sorted(TEMPLATES.iterdir()) if path.is_file()}
    names = [*templates, *COPIED]
    if there := [name for name in names if (folder / name).exists()]:
        raise HeadraceError(f"{folder} holds {', '.join(there)} already: `headrace init` overwrites nothing")
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(paths.CONFIG / name, folder / name)
    for name in sorted(templates, key=lambda each: each == paths.PROJECT_FILE):  # last: with it the project is whole
        durable.write(folder / name, templates[name].encode())
    return names
