"""A copy of the checkout that a test may change."""

import shutil
from pathlib import Path

from headrace.infra import paths

NAMES = (
    "headrace",
    "dags",
    "infra",
    "schemas",
    "jobs",
    "edge",
    "udfs",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
)


def copy(folder: Path) -> Path:
    for name in NAMES:
        source = paths.PACKAGE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder
