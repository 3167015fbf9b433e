"""Errors that a user can mend, each in one line."""

import os
from textwrap import shorten

TEXT_MAX = 300  # characters; Kafka's errors quote whole requests
REFUSED = 3  # exit status: a retry would give the same
IS_IT_UP = "`headrace status` shows what runs, `headrace up` starts it"


class HeadraceError(Exception):
    """An error that a user can mend: it says the name, the rule, the value, and what to do next."""


class SettingsError(HeadraceError):
    pass


class Refusal(HeadraceError):
    """Nothing went wrong: data, a model or a budget breaks a rule. The program ends with REFUSED."""


def describe(error: Exception) -> str:
    """Returns any error in one line. It goes by the name of the error's library, since importing that takes long."""
    kind = type(error)
    library = kind.__module__.partition(".")[0]
    text = brief(error)
    if isinstance(error, HeadraceError):
        return str(error)
    if library == "redis" and kind.__name__ in ("AuthenticationError", "NoPermissionError"):
        return f"Redis refuses redis.username and redis.password: {text}"
    if library == "redis":
        return f"Redis: {text}: {IS_IT_UP}"
    if library == "kafka":
        return f"Kafka: {text or kind.__name__}: {IS_IT_UP}"
    if isinstance(error, OSError):
        return f"{error.filename}: {os.strerror(error.errno)}" if error.filename and error.errno else text
    if isinstance(error, ValueError):  # names field, rule and value
        return text
    return f"{kind.__name__}: {text} (HEADRACE_DEBUG=1 shows where)"


def brief(error: object) -> str:
    """Returns a library's message in one line without a full stop, so that the sentence can go on."""
    text = " ".join(str(error).split()).removesuffix(".")
    return shorten(text, TEXT_MAX, placeholder=" ...")
