"""What a shop lets pass: gates.toml (models), checks.toml (a day's data), drift.toml (how far data may move).

docs/night.md explains each limit. The steps `check`, `gate` and `drift` interpret them; this module only reads.
"""

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from headrace.infra.errors import HeadraceError

T = TypeVar("T")
End = Literal["low", "value", "high"]  # which end of an interval counts


class GateProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    k: int
    popularity: End
    champion: End
    catalogue: float
    overlap: float
    tolerance: float
    segment_tolerance: float
    segment_users: int
    users: int = 20  # a project's file may be older than this rule and the next
    hits: int = 10
    live_loss: float = 0.05
    floors: dict[Literal["days", "last", "leave_one_out"], dict[str, float]]


class CheckLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    null_share: float | None = None
    repeat_share: float | None = None
    refused_share: float | None = None
    age_h: float | None = None
    volume_min: float | None = None
    volume_max: float | None = None
    unknown_share: float | None = None
    busiest_share: float | None = None
    busiest_per_minute: float | None = None
    action_lost: float | None = None
    action_grown: float | None = None
    device_lost: float | None = None
    location_lost: float | None = None
    category_lost: float | None = None
    filled_min: float | None = None
    price_min: float | None = None
    price_max: float | None = None
    free_share: float | None = None
    new_shape_share: float | None = None
    new_users_rise: float | None = None
    impressions_min: float | None = None
    impressions_unknown: float | None = None
    orphan_clicks: float | None = None
    orphan_rewards: float | None = None
    rewarded_min: float | None = None


class Checks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    days: int
    limits: CheckLimits
    history_days: int = 30  # a project's file may be older than this rule


class DriftLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reference_days: int
    rows_min: int
    sample: int
    psi: dict[str, float]
    ks: dict[str, float]


def gate_profile(path: Path, name: str) -> GateProfile:
    """Returns the profile `name` of gates.toml. Raises HeadraceError if it cannot be read or has no such profile."""
    profiles = _read(path, dict[str, GateProfile], "gates")
    if name not in profiles:
        raise HeadraceError(f"night.gates must be a profile of {path}: {', '.join(profiles)}, got {name!r}")
    return profiles[name]


def checks(path: Path) -> Checks:
    """Reads checks.toml. Raises HeadraceError if it cannot be read."""
    return _read(path, Checks, "checks")


def drift_limits(path: Path) -> DriftLimits:
    """Reads drift.toml. Raises HeadraceError if it cannot be read."""
    return _read(path, DriftLimits, "limits of drift")


def _read(path: Path, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), kind, strict=False)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise HeadraceError(f"{path} must hold {what}: {error}") from None
