"""udfs import numpy, the standard library and the contract's compiler: so Flink, Spark and Flower can share them."""

import ast
import sys
from pathlib import Path

UDFS = Path(__file__).parents[2] / "udfs"
ALLOWED = sys.stdlib_module_names | {"numpy", "msgspec", "headrace"}
WORLD = {"os", "socket", "time", "random", "threading", "subprocess", "asyncio"}  # clocks, chance and the outside


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "udfs" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_udfs_are_pure() -> None:
    impure = {path.name: imported(path) - (ALLOWED - WORLD) for path in UDFS.rglob("*.py")}
    assert {name: found for name, found in impure.items() if found} == {}
