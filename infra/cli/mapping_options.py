"""The options of a mapping for the commands that read files: `import`, `replay` and `train`."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.files import options

if TYPE_CHECKING:
    from headrace.infra.files.mapping import Mapping

Body = Callable[..., Any]
File = Annotated[Path | None, typer.Option("--mapping", metavar="FILE", help=options.MAPPING_HELP)]


class Given:
    """The options of a mapping as they were typed."""

    def __init__(self, texts: dict[str, str | None], file: Path | None) -> None:
        self.texts, self.file = texts, file

    def mapping(self) -> "Mapping":
        return options.mapping(self.texts, self.file)

    def arguments(self) -> list[str]:
        """The same options for a job's command line."""
        file = [f"--mapping={self.file}"] if self.file else []
        return [*file, *(f"--{name}={text}" for name, text in self.texts.items() if text is not None)]


def with_mapping(body: Body) -> Body:
    """Gives a command the options; its parameter `given` has what was typed."""
    names = [option.name for option in options.OPTIONS]

    @wraps(body)
    def command(**values: Any) -> Any:
        given = Given({name: values.pop(name) for name in names}, values.pop("mapping"))
        return body(**values, given=given)

    own = inspect.signature(body, eval_str=True).parameters
    added = {"mapping": inspect.Parameter("mapping", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=File)}
    for option in options.OPTIONS:
        shown = typer.Option(option.flag, metavar=option.metavar, help=option.help, rich_help_panel="Mapping")
        kind = Annotated[str | None, shown]
        added[option.name] = inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
        )
    parameters = [*(each for name, each in own.items() if name != "given"), *added.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command
