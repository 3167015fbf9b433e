"""What the documents mention exists: paths, links, commands and their options, modules, settings, make's targets."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from headrace.infra.cli.main import app
from headrace.infra.launch.batch import STEPS
from headrace.infra.launch.streaming import JOBS
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"  # it names what is gone, too
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", CHANGELOG, *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "jobs|udfs|edge|schemas|infra|dags|tests|docs|benchmarks|headrace"
SVG = "{http://www.w3.org/2000/svg}"
OUTSIDE = re.compile(r"^(https?:|mailto:)")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
every_page_of_today = pytest.mark.parametrize("page", [p for p in PAGES if p != CHANGELOG], ids=lambda page: page.name)


def code(page: Path) -> Iterator[str]:
    """Yields the code spans of a page, and the lines of its blocks."""
    text = page.read_text()
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))
    yield from (re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text))


@every_page
def test_no_line_is_longer_than_the_code_may_be(page: Path) -> None:
    """A row of a table cannot be wrapped."""
    lines = enumerate(page.read_text().splitlines(), 1)
    assert [number for number, line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_readme_is_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"]({name})" not in index] == []


def test_the_picture_names_jobs_and_keys_that_exist() -> None:
    texts = {each.text or "" for each in ElementTree.parse(ROOT / "docs" / "overview.svg").iter(f"{SVG}text")}
    assert set(JOBS) <= texts
    keys = {text for text in texts if "{" in text and ":" in text}
    assert len(keys) == 5
    assert {key for key in keys if f"`{key}`" not in (redis_keys.__doc__ or "")} == set()


# Places.


@every_page_of_today
def test_the_paths_exist(page: Path) -> None:
    found = re.findall(rf"(?<![\w./{{}}$-])(?:{FOLDERS})/[\w./*-]*", page.read_text())
    paths = {path.rstrip("./") for path in found if "NAME" not in path}
    assert [path for path in sorted(paths) if not exists(path)] == []


def exists(path: str) -> bool:
    return any(any(ROOT.glob(each)) for each in (path, f"{path}.py"))


@every_page
def test_the_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not OUTSIDE.match(link)]
    assert [link for link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Modules and settings.


@every_page_of_today
def test_the_modules_exist(page: Path) -> None:
    text = page.read_text()
    names = set(re.findall(r"(?<![\w/-])headrace\.(?:udfs|edge|infra|jobs|schemas|dags)[\w.]*", text))
    for module, imported in re.findall(r"from (headrace\.[\w.]+) import ([\w, ]+)", text):
        names |= {f"{module}.{name}" for name in imported.split(", ")}
    assert [name for name in sorted(names) if not is_module_or_name_in_one(name.rstrip("."))] == []


def is_module_or_name_in_one(name: str) -> bool:
    path, _, last = name.removeprefix("headrace.").replace(".", "/").rpartition("/")
    if exists(f"{path}/{last}".lstrip("/")):
        return True
    module = ROOT / f"{path}.py"
    return module.is_file() and bool(re.search(rf"^(def|class) {last}\b|^{last} =", module.read_text(), re.MULTILINE))


@every_page_of_today
def test_the_settings_exist(page: Path) -> None:
    dotted = re.findall(r"`([a-z_]+)\.([a-z_]+)(?: =[^`]*)?`", page.read_text())
    tables = re.findall(r"`\[([a-z_]+)\] ([a-z_]+)(?: =[^`]*)?`", page.read_text())
    named = {(section, name) for section, name in dotted if section in Settings.model_fields and name != "py"}
    assert [each for each in sorted(named | set(tables)) if not is_setting(*each)] == []


def is_setting(section: str, name: str) -> bool:
    field = Settings.model_fields.get(section)
    return bool(field) and name in getattr(field.annotation, "model_fields", {})  # type: ignore[union-attr]


# Commands.


@every_page_of_today
def test_the_commands_exist(page: Path) -> None:
    command = re.compile(r"(?:^|(?<!from)[\s/])headrace (?=[a-z-])([^#;|&>]*)")
    lines = {line for text in code(page) for line in command.findall(text)}
    assert {line: wrong for line in sorted(lines) if (wrong := what_is_wrong(shlex.split(line)))} == {}


def what_is_wrong(words: list[str]) -> str:
    command: Any = typer.main.get_command(app)
    while words and not words[0].startswith("-") and (commands := getattr(command, "commands", None)):
        if words[0] not in commands:
            return f"no command {words[0]}"
        command, words = commands[words[0]], words[1:]
    options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "--"}
    if command.name == "run" and words and words[0] != "JOB":
        return wrong_step(words[0], options)
    known = {"--help", "-h"} | {each for param in command.params for each in (*param.opts, *param.secondary_opts)}
    return ", ".join(sorted(options - known))


def wrong_step(name: str, options: set[str]) -> str:
    """Returns what is wrong with the options of a step, which it reads itself."""
    if name not in {step.name for step in STEPS}:
        return f"no step {name}"
    files = (next(step.file for step in STEPS if step.name == name), "night")
    text = "".join((ROOT / "jobs" / "batch" / f"{each}.py").read_text() for each in files)
    return ", ".join(sorted(option for option in options if f'"{option}"' not in text and option != "--help"))


@every_page_of_today
def test_the_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {word for each in targets for word in each.split()}
    lines = [line for text in code(page) for line in re.findall(r"(?:^|\s)make((?: [a-z-]+\b(?!=))+)", text)]
    assert {word for line in lines for word in line.split()} - known == set()
