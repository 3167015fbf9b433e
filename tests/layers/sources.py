"""The project's Python files as the tests of this folder read them: what each imports, and the classes it defines."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("dags", "edge", "infra", "jobs", "schemas", "udfs")  # below the package headrace
PRODUCT, ALL = ("headrace", *FOLDERS), ("headrace", *FOLDERS, "tests", "benchmarks")
Imports = Mapping[str, set[str]]  # file, such as edge/tracker.py -> what it imports, such as headrace.infra.errors


@cache
def files(folders: tuple[str, ...] = PRODUCT) -> dict[str, ast.Module]:
    """Returns the files of packages. headrace/ links to the other folders, which are read where they are."""
    paths = [path for top in folders for path in (ROOT / top).rglob("*.py")]
    own = [path for path in paths if (path.parent / "__init__.py").exists() and not links(path)]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in own}


def links(path: Path) -> bool:
    return any(folder.is_symlink() for folder in path.parents if folder.is_relative_to(ROOT))


def module(file: str) -> str:
    """edge/tracker.py -> headrace.edge.tracker"""
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name if name.split(".")[0] in ("headrace", "tests", "benchmarks") else f"headrace.{name}"


def imported(tree: ast.AST, modules: Iterable[str]) -> set[str]:
    """Yields every imported module, also in functions; `from a import b` is a.b if that is a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            whole = [f"{package}.{alias.name}" for alias in node.names]
            names |= {each if each in modules else package for each in whole}
    return names


@cache
def imports(folders: tuple[str, ...] = PRODUCT) -> dict[str, set[str]]:
    modules = {module(file) for file in files(ALL)}
    return {file: imported(tree, modules) for file, tree in files(folders).items()}


def arrows(found: Imports) -> dict[str, set[str]]:
    """Returns file -> the files among these that it imports."""
    of = {module(file): file for file in found}
    return {file: {of[name] for name in names if name in of} for file, names in found.items()}
