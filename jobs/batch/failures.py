"""The cause of a Spark error in one line; Spark's own text is a page of Java's and Python's stacks."""

import re
from textwrap import shorten
from typing import Any

from headrace.infra.errors import TEXT_MAX, describe

PYTHON = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception)): (.+)$", re.MULTILINE)
JAVA = re.compile(r"^(?:Caused by: )?(?:[a-z]\w*\.)+([A-Z][\w$]*): (.+)$", re.MULTILINE)


def cause(error: Exception) -> str:
    """Returns any error of a job in one line."""
    if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j"):
        return describe(error)
    text = "\n".join([str(error), *_chain(error)])
    worker = PYTHON.findall(text) if "Traceback (most recent call last)" in text else []
    kind, message = (worker or JAVA.findall(text) or [(type(error).__name__, str(error).partition("\n")[0])])[-1]
    if file := re.search(r"error while reading file (\S+?)\.(?: |$)", text, re.MULTILINE):
        message = f"{file[1]}: {message}"
    return f"Spark: {kind}: {shorten(message, TEXT_MAX, placeholder=' ...')}"


def _chain(error: Exception) -> list[str]:
    """Returns an error of the JVM and its causes, outermost first."""
    texts: list[str] = []
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while java is not None:
        texts.append(str(java.toString()))
        java = java.getCause()
    return texts
