"""The names that commands take, each list from where it is declared: for the help and for completion in a shell.

They are looked up when one of the two asks for them, since most of their homes take long to import.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import typer


def jobs() -> Iterable[str]:
    from headrace.infra.launch.streaming import JOBS

    return JOBS


def data_sets() -> Iterable[str]:
    from headrace.edge.datasets import DATASETS

    return DATASETS


def steps() -> Iterable[str]:
    from headrace.infra.launch.batch import NAMES

    return NAMES


def environments() -> Iterable[str]:
    from headrace.infra.environments import MARKS

    return MARKS


def models() -> Iterable[str]:
    from headrace.infra.launch.batch import STEPS

    return [step.name for step in STEPS if step.trains]


def programs() -> Iterable[str]:
    from headrace.infra.stack.programs import AIRFLOW_LOG_NAMES, LOG_NAMES

    return [*LOG_NAMES, "supervisord", *AIRFLOW_LOG_NAMES]


def versions() -> Iterable[str]:
    from headrace.infra.versions import store

    return [each.version for each in store.versions()]


LISTS: tuple[Callable[[], Iterable[str]], ...] = (jobs, data_sets, steps, environments, models, programs)


def fill(text: str) -> str:
    """{jobs} becomes the names of the jobs, and so on."""
    for source in LISTS:
        if (mark := f"{{{source.__name__}}}") in text:
            text = text.replace(mark, ", ".join(source()))
    return text


def argument(source: Callable[[], Iterable[str]], text: str, **options: Any) -> Any:
    return typer.Argument(help=text, autocompletion=completion(source), **options)


def option(source: Callable[[], Iterable[str]], text: str, **options: Any) -> Any:
    return typer.Option(help=text, autocompletion=completion(source), **options)


def completion(source: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        with contextlib.suppress(Exception):  # a shell shows no error while somebody types
            return [name for name in source() if name.startswith(incomplete)]
        return []

    return complete
