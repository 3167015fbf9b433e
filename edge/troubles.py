"""What does not work at this moment, and when to try it again: each kind of error is logged once, until it is over."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

log = logging.getLogger(__name__)

RETRY_S = 0.5
RETRY_MAX_S = 30.0


class Trouble(NamedTuple):
    said: str  # the newest error
    kinds: frozenset[str]  # of all errors since it last went well
    times: int
    retry_at_s: float


class Troubles:
    """Thread-safe."""

    def __init__(self) -> None:
        self._now: dict[str, Trouble] = {}

    def failed(self, what: str, error: object) -> None:
        kind = f"{type(error).__name__} {getattr(error, 'errno', None)}"
        before = self._now.get(what, Trouble("", frozenset(), 0, 0.0))
        if kind not in before.kinds:
            log.error("%s: %s: %s; it is tried again", what, type(error).__name__, error)
        pause_s = min(RETRY_S * 2.0 ** min(before.times, 10), RETRY_MAX_S)
        said = f"{what}: {type(error).__name__}: {error}"
        self._now[what] = Trouble(said, before.kinds | {kind}, before.times + 1, time.monotonic() + pause_s)

    def well(self, what: str) -> None:
        if self._now.pop(what, None):
            log.warning("%s: it works again", what)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Keeps an error from going further, whatever it is."""
        try:
            yield
        except Exception as error:
            self.failed(what, error)
        else:
            self.well(what)

    def due(self, what: str) -> bool:
        """Whether to try it: it works, or it has waited for long enough."""
        trouble = self._now.get(what)
        return trouble is None or time.monotonic() >= trouble.retry_at_s

    def said(self) -> str:
        """All of them in one line; empty if all is well."""
        return "; ".join(trouble.said for trouble in list(self._now.values()))

    def __contains__(self, what: str) -> bool:
        return what in self._now

    def __bool__(self) -> bool:
        return bool(self._now)
