"""What a policy sees of a shopper, an item, the time and the environment: a vector of d numbers.

An Encoder is a declaration of columns. Its `version` is a hash of the declaration. The version travels with each
impression, because vectors of two declarations must never meet in one sum. The first value is always 1, the bias.

    >>> Encoder((OneHot("environment", "device", ("phone", "desktop")),)).encode({}, [{}], {"device": "phone"}, 0)
    array([[1., 1., 0.]])
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from math import isfinite, log1p
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike

from headrace.udfs.bandit.arms import Floats, quantise

Fields = Mapping[str, Any]
_MAX_D = 256  # the limit of schemas/impression.avsc
_PERIODS = {"hour": 24, "weekday": 7}


class Facts(NamedTuple):
    """Fields as a service has them: text, as in Redis, or values. A field is unknown if it is absent, None or empty."""

    user: Fields
    item: Fields
    environment: Fields
    t_ms: int  # since 1970 UTC

    def get(self, of: str, field: str) -> Any:
        value = getattr(self, of).get(field)
        return None if value == "" else value


@dataclass(frozen=True)
class Number:
    """value / scale, clipped to [-1, 1]. With `log`, log(1 + value) replaces the value. 0 if the field is unknown."""

    of: str
    field: str
    scale: float
    log: bool = False
    width: ClassVar[int] = 1

    def values(self, facts: Facts) -> list[float]:
        raw = facts.get(self.of, self.field)
        value = 0.0 if raw is None else _number(f"{self.of}.{self.field}", raw)
        value = log1p(max(value, 0.0)) if self.log else value
        return [min(max(value / self.scale, -1.0), 1.0)]


@dataclass(frozen=True)
class OneHot:
    """1 at the index of the value in `categories`. All 0 for any other value."""

    of: str
    field: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.categories)

    def values(self, facts: Facts) -> list[float]:
        value = facts.get(self.of, self.field)
        return [float(value == category) for category in self.categories]


@dataclass(frozen=True)
class Hashed:
    """1 in the bucket of the value, all 0 if the field is unknown.

    The bucket is the first 8 bytes of BLAKE2b of "field=value", little-endian, modulo `buckets`.
    """

    of: str
    field: str
    buckets: int

    @property
    def width(self) -> int:
        return self.buckets

    def values(self, facts: Facts) -> list[float]:
        value = facts.get(self.of, self.field)
        digest = blake2b(f"{self.field}={value}".encode(), digest_size=8).digest()
        bucket = -1 if value is None else int.from_bytes(digest, "little") % self.buckets
        return [float(bucket == place) for place in range(self.buckets)]


@dataclass(frozen=True)
class Cycle:
    """sin and cos of the local time within its day ("hour", by the minute) or its week ("weekday", by the day)."""

    period: str
    zone: str
    of: ClassVar[str] = "time"
    width: ClassVar[int] = 2

    def values(self, facts: Facts) -> list[float]:
        local = datetime.fromtimestamp(facts.t_ms / 1000, ZoneInfo(self.zone))
        place = local.hour + local.minute / 60 if self.period == "hour" else local.weekday()
        angle = 2 * np.pi * place / _PERIODS[self.period]
        return [float(np.sin(angle)), float(np.cos(angle))]


@dataclass(frozen=True)
class Match:
    """1 if a field of the user equals one of the item. 0 if not, or if it is unknown."""

    field: str
    item_field: str
    of: ClassVar[str] = "item"
    width: ClassVar[int] = 1

    def values(self, facts: Facts) -> list[float]:
        value = facts.get("user", self.field)
        return [float(value is not None and value == facts.get("item", self.item_field))]


Column = Number | OneHot | Hashed | Cycle | Match


@dataclass(frozen=True)
class Encoder:
    """Turns fields into contexts: the bias, then the values of each column.

    Raises ValueError if a column breaks a rule, or if there are more than 256 values.
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        for column in self.columns:
            _check_column(column)
        if self.d > _MAX_D:
            raise ValueError(f"columns must give at most {_MAX_D} values, got {self.d}")

    @cached_property
    def d(self) -> int:
        """Values in a context."""
        return 1 + sum(column.width for column in self.columns)

    @cached_property
    def version(self) -> str:
        """12 hex digits, the same for the same declaration on every machine."""
        declaration = json.dumps([[type(column).__name__, *astuple(column)] for column in self.columns])
        return blake2b(declaration.encode(), digest_size=6).hexdigest()

    def encode(self, user: Fields, items: Sequence[Fields], environment: Fields, t_ms: int) -> Floats:
        """The contexts (k, d) of k items for one user at t_ms, since 1970 UTC.

        Raises ValueError if a Number is not finite.
        """
        facts = [Facts(user, item, environment, t_ms) for item in items]
        X = np.ones((len(items), self.d))
        start = 1
        for column in self.columns:
            rows = facts if column.of == "item" else facts[:1]  # only an item's columns differ from row to row
            for row, each in enumerate(rows):
                X[row if column.of == "item" else slice(None), start : start + column.width] = column.values(each)
            start += column.width
        return quantise(X)

    def check(self, version: str | None, vector: ArrayLike) -> None:
        """Raises ValueError unless the vector is one of this declaration. An unknown version, None, passes."""
        if version is not None and version != self.version:
            raise ValueError(f"encoder_version must be {self.version}, got {version}")
        values = np.asarray(vector, np.float64)
        if values.shape != (self.d,):
            raise ValueError(f"context must have {self.d} values, got {values.size}")
        if not np.isfinite(values).all():
            raise ValueError(f"context must be finite, got {values[~np.isfinite(values)][0]}")


def _check_column(column: Column) -> None:
    name = type(column).__name__
    if column.of not in ("user", "item", "environment", "time"):
        raise ValueError(f"{name}.of must be user, item or environment, got {column.of!r}")
    if column.width < 1:
        raise ValueError(f"{name}: must have at least one category or bucket, got {column.width}")
    if isinstance(column, Number) and not 0 < column.scale < float("inf"):
        raise ValueError(f"Number.scale must be finite and > 0, got {column.scale}")
    if isinstance(column, Cycle) and column.period not in _PERIODS:
        raise ValueError(f"Cycle.period must be hour or weekday, got {column.period!r}")


def _number(name: str, raw: Any) -> float:
    try:
        value = float(raw)
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {raw!r}")
    return value


# 16 values. The user's fields are the hash session:{user}, and `category`: that of the newest item they acted on.
SHOPPER = Encoder(
    (
        Number("user", "events", scale=4.0, log=True),
        Number("user", "duration_h", scale=1.0),
        Number("user", "mean_dwell_s", scale=6.0, log=True),
        Number("user", "rate_click", scale=1.0),
        Number("user", "rate_purchase", scale=1.0),
        Hashed("user", "category", buckets=4),
        OneHot("environment", "device", ("phone", "desktop")),
        Cycle("hour", "UTC"),
        Number("item", "popularity", scale=1.0),
        Match("category", "category"),
    )
)
