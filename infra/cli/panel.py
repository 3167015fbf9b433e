"""What all commands share: -h, help in panels, names looked up when a help shows them, and a project to work in."""

import difflib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from headrace.infra.cli import names

Body = TypeVar("Body", bound=Callable[..., Any])
UserId = Annotated[str, typer.Argument(help="A user_id. One that is spelled like an option goes after --.")]
CONTEXT = {"help_option_names": ["-h", "--help"]}


def enter_project() -> None:
    """The processes that a command starts are of the same project, wherever they run."""
    from headrace.infra import paths

    if folder := paths.project():
        os.environ["HEADRACE_PROJECT"] = str(folder)
    paths.require_project()


class Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            if text := getattr(parameter, "help", None):
                parameter.help = names.fill(text)  # type: ignore[attr-defined]  # options and arguments have one
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        enter_project()
        return super().invoke(ctx)


class Anywhere(Command):
    """A command that needs no project."""

    def invoke(self, ctx: Any) -> Any:
        return TyperCommand.invoke(self, ctx)


class OfAnId(Command):
    """A command whose argument is an id of the shop's own, which may begin with a dash.

    A word that only looks like an option is the id, unless there is another word for it: then it was meant as one.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name: option for option in self.get_params(ctx) for name in option.opts if name.startswith("-")}
        words = iter(args)
        left = [word for word in words if not _is_option(word, options, words)]
        if len(left) == 1 and left[0].startswith("-") and "--" not in args and not _is_misspelt(left[0], options):
            args.remove(left[0])
            args += ["--", left[0]]
        return super().parse_args(ctx, args)


def _is_option(word: str, options: dict[str, Any], rest: Iterator[str]) -> bool:
    """Returns whether a word is an option as it is; if its value is the next word, that is taken from the rest."""
    name, equals, _ = word.partition("=")
    if name not in options:
        return word[:2] in options and word[2:].isdecimal()  # such as -n5
    if not equals and not options[name].is_flag:
        next(rest, None)
    return True


def _is_misspelt(word: str, options: dict[str, Any]) -> bool:
    return word.startswith("--") and bool(difflib.get_close_matches(word.partition("=")[0], options, cutoff=0.8))


class Group(TyperGroup):
    """Its help shows the commands of a panel together, in the order in which they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        width = max(len(name) for name, _ in shown)
        for name, command in shown:
            title = getattr(command, "rich_help_panel", None) or "Commands"
            said = command.get_short_help_str(limit=1000)  # its first sentence
            panels.setdefault(title, []).append((name.ljust(width), said))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def group(about: str = "", **options: Any) -> typer.Typer:
    settings: dict[str, Any] = {"cls": Group, "rich_markup_mode": None, "context_settings": CONTEXT} | options
    return typer.Typer(help=about or None, **settings)


class Adding(Protocol):
    """typer's own decorator."""

    def __call__(self, name: str | None = None, **options: Any) -> Callable[[Body], Body]: ...


def panel(title: str) -> tuple[typer.Typer, Adding]:
    """Commands of `headrace` itself that the help shows together, and the decorator that adds one."""
    app = group()
    return app, partial(app.command, cls=Command, rich_help_panel=title)
