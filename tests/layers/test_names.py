"""A name means one thing: no class name and no file name twice, and a module of ours by its own name."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from tests.layers.sources import files

# Each says why a reader is not misled.
ALLOWED = {
    "als.py": "the family `als` trains what the maths of udfs/factors/als.py solves",
    "contract.py": "the contract of a record, and that of a recommender",
    "federated.py": "a family and a streaming job, both named as one types them",
}
COMMANDS = "infra/cli"  # a file is named for the noun of its command


def repeated(names: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Returns {name: files} from {file: names}, for the names that occur more than once."""
    places: dict[str, list[str]] = defaultdict(list)
    for file, own in names.items():
        for name in own:
            places[name].append(file)
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}


def classes(tree: ast.AST) -> list[str]:
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def renamed(tree: ast.AST) -> set[tuple[str, str]]:
    """Returns what is imported from headrace under another name; `x as x` passes a name on."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in froms if (node.module or "").split(".")[0] == "headrace"]
    return {
        (alias.name, alias.asname)
        for node in ours
        for alias in node.names
        if alias.asname and alias.asname != alias.name
    }


def named(paths: Iterable[str]) -> dict[str, list[str]]:
    """Returns {file: its name}, for the files whose names must differ."""
    own = {path: PurePath(path).name for path in paths if not path.startswith(COMMANDS)}
    return {path: [name] for path, name in own.items() if name not in ("__init__.py", "__main__.py")}


def test_no_class_name_twice() -> None:
    assert repeated({file: classes(tree) for file, tree in files().items()}) == {}


def test_no_file_name_twice() -> None:
    assert repeated(named(files())).keys() == ALLOWED.keys()


def test_modules_go_by_their_own_names() -> None:
    found = {file: renamed(tree) for file, tree in files().items() if not file.startswith(COMMANDS)}
    assert {file: names for file, names in found.items() if names} == {}


def test_what_is_there_twice_is_found() -> None:
    trees = {"edge/a.py": "class Rule: ...\nclass A: ...", "udfs/b.py": "def f():\n    class Rule: ..."}
    assert repeated({file: classes(ast.parse(text)) for file, text in trees.items()}) == {"Rule": [*trees]}
    paths = ["edge/rule.py", "udfs/rule.py", "udfs/__init__.py", "edge/__init__.py", "infra/cli/rule.py"]
    assert repeated(named(paths)) == {"rule.py": paths[:2]}


def test_another_name_is_found() -> None:
    text = "from headrace.udfs import session as s, history as history\nimport numpy as np\nfrom numpy import dot as d"
    assert renamed(ast.parse(text)) == {("session", "s")}
