"""Who may import whom: schemas, the ground of infra and udfs carry the others; nothing points up, nothing in a circle.

Each rule is a function of {file: imports}, so that a test can also show it a tree that breaks it.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePath

import pytest

from tests.layers.sources import ALL, FOLDERS, Imports, arrows, imported, imports

# Folders of infra, each on those before it; its own files are the ground.
ORDER = ("clients", "stack", "launch", "versions", "operate")
ROOF = ("demo", "cli")
MAY = {
    "schemas": {"schemas"},
    "udfs": {"udfs", "schemas"},
    "ground": {"ground", "schemas"},
    "edge": {"edge", "ground", "udfs", "schemas"},
    "jobs": {"jobs", "ground", "clients", "versions", "udfs", "schemas"},
    "dags": {"dags", "ground", "clients", "launch"},
    "headrace": set(),
}
MAY |= {name: {"ground", "udfs", "schemas", *ORDER[: n + 1]} for n, name in enumerate(ORDER)}
MAY |= {name: {*MAY, *ROOF[: n + 1]} for n, name in enumerate(ROOF)}
ALLOWED = {
    ("headrace/__main__.py", "headrace.infra.cli.main"): "python -m headrace",
    ("headrace/__init__.py", "headrace.edge.recommendations"): "the SDK, by the package's own name",
    ("headrace/__init__.py", "headrace.edge.tracker"): "the SDK, by the package's own name",
    ("jobs/batch/import_file.py", "headrace.edge.datasets"): "the public data sets, which replay sends",
}
WORLD = {"os", "socket", "time", "random", "threading", "subprocess", "asyncio"}  # clocks, chance and the outside
PURE = (sys.stdlib_module_names | {"numpy", "msgspec", "headrace"}) - WORLD


def layer(path: str) -> str:
    """Returns a file's layer: infra/paths.py is ground, infra/cli/main.py is cli, others are their top folder."""
    top, *rest = PurePath(path).with_suffix("").parts
    return top if top != "infra" else rest[0] if rest and rest[0] in (*ORDER, *ROOF) else "ground"


def upward(found: Imports) -> set[tuple[str, str]]:
    ours = {(file, name) for file, names in found.items() for name in names if name.split(".")[0] == "headrace"}
    return {(file, name) for file, name in ours if layer(_path(name)) not in MAY[layer(file)]}


def _path(name: str) -> str:
    return name.removeprefix("headrace.").replace(".", "/") + ".py"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Returns one circle, if there is any: each file of it is imported by the next."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between_folders(found: Imports) -> dict[str, set[str]]:
    """Returns the imports between folders. A folder and the folders in it are one.

    headrace/ itself is left out, since it only passes names on.
    """
    graph: dict[str, set[str]] = defaultdict(set)
    inside = {file: names for file, names in found.items() if not file.startswith("headrace/")}
    for file, targets in arrows(inside).items():
        folder = PurePath(file).parent
        others = {PurePath(target).parent for target in targets}
        graph[str(folder)] |= {
            str(other) for other in others if not (other.is_relative_to(folder) or folder.is_relative_to(other))
        }
    return graph


def bare(found: Imports) -> set[tuple[str, str]]:
    """Returns imports such as `import udfs` and `from . import x`, which work in a checkout alone."""
    return {(file, name) for file, names in found.items() for name in names if name.split(".")[0] in (*FOLDERS, "")}


def impure(found: Imports) -> set[tuple[str, str]]:
    """Returns imports beside numpy, msgspec and the standard library: Flink, Spark and Flower share udfs."""
    tops = {(file, name.split(".")[0]) for file, names in found.items() if layer(file) == "udfs" for name in names}
    return {(file, top) for file, top in tops if top not in PURE}


def test_nothing_points_up() -> None:
    assert upward(imports()) == set(ALLOWED)


def test_no_circle_of_files_or_folders() -> None:
    assert circle(arrows(imports())) == []
    assert circle(between_folders(imports())) == []


def test_ours_is_imported_as_headrace() -> None:
    assert bare(imports(ALL)) == set()


def test_udfs_are_pure() -> None:
    assert impure(imports()) == set()


PLANTED = {
    "the ground on what stands on it": ("infra/paths.py", "headrace.infra.clients.flink"),
    "a client on the stack": ("infra/clients/flink.py", "headrace.infra.stack.ports"),
    "a launch on versions": ("infra/launch/batch.py", "headrace.infra.versions.store"),
    "infra on the roof": ("infra/operate/watch.py", "headrace.infra.cli.main"),
    "the demo on the command": ("infra/demo/run.py", "headrace.infra.cli.main"),
    "infra on a job": ("infra/operate/watch.py", "headrace.jobs.batch.night"),
    "udfs on the ground": ("udfs/session.py", "headrace.infra.paths"),
    "edge on a client": ("edge/tracker.py", "headrace.infra.clients.flink"),
    "a job on the edge": ("jobs/batch/als.py", "headrace.edge.tracker"),
    "a job on the stack": ("jobs/batch/als.py", "headrace.infra.stack.ports"),
    "a DAG on a job": ("dags/tasks.py", "headrace.jobs.batch.als"),
    "a job on a DAG": ("jobs/batch/als.py", "headrace.dags.tasks"),
    "schemas on udfs": ("schemas/types.py", "headrace.udfs.contract"),
}


@pytest.mark.parametrize(("file", "name"), PLANTED.values(), ids=PLANTED)
def test_what_points_up_is_found(file: str, name: str) -> None:
    assert upward({file: {name, "numpy"}}) == {(file, name)}


def test_a_circle_is_found() -> None:
    files = {"udfs/a.py": {"headrace.udfs.b"}, "udfs/b.py": {"headrace.udfs.c.d"}, "udfs/c/d.py": {"headrace.udfs.a"}}
    assert set(circle(arrows(files))) == set(files)
    assert circle(between_folders(files)) == []  # a folder and the one around it
    crossed = {
        "edge/a/x.py": {"headrace.edge.b.x"}, "edge/b/x.py": set(), "edge/b/y.py": {"headrace.edge.a.y"},
        "edge/a/y.py": set(),
    }  # fmt: skip
    assert circle(arrows(crossed)) == []
    assert set(circle(between_folders(crossed))) == {"edge/a", "edge/b"}


def test_what_is_bare_or_impure_is_found() -> None:
    files = {"udfs/a.py": {"udfs.b", ".", "pandas", "time", "json"}, "edge/a.py": {"time", "infra"}}
    assert bare(files) == {("udfs/a.py", "udfs.b"), ("udfs/a.py", "."), ("edge/a.py", "infra")}
    assert impure(files) == {("udfs/a.py", top) for top in ("udfs", "", "pandas", "time")}


def test_imports_are_read_wherever_they_are() -> None:
    source = "import json.tool\ndef f():\n    from headrace.udfs import session, nothing\n    from . import x\n"
    modules = {"headrace.udfs", "headrace.udfs.session"}
    assert imported(ast.parse(source), modules) == {"json.tool", "headrace.udfs.session", "headrace.udfs", "."}
