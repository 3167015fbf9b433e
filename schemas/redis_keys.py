"""Every Redis key, spelled once.

| key | type | value | written by | ttl |
|---|---|---|---|---|
| `session:{user}` | string, JSON | docs/semantics.md | jobs/streaming/session_features | 1 h from `as_of_ms` |
| `live:{version}:{user}` | string, JSON | list, as of the newest click | jobs/streaming/collaborative | 30 min |
| `recs:{version}:{user}` | string, JSON | list, precomputed | jobs/batch/precompute | goes with the version |
| `similar:{version}:{item}` | string, JSON | list | jobs/batch/precompute | goes with the version |
| `popular:{version}` | string, JSON | list, for anyone | publication of the version | goes with the version |
| `popular:{version}:{field}:{value}` | string, JSON | list, by category, place | jobs/batch/precompute | the same |
| `trending:{version}:{field}:{value}` | string, JSON | list, by category, place | jobs/batch/precompute | the same |
| `trending` | string, JSON | list | jobs/streaming/covisitation | 24 h |
| `also_viewed:{item}` | string, JSON | list | jobs/streaming/covisitation | 24 h |
| `bought_together:{item}` | string, JSON | list | jobs/streaming/covisitation | 24 h |
| `hidden:{user}` | sorted set | item -> ms until which it is not shown | session_features, collaborative | the last |
| `bandit:{policy}:{version}` | hash | arm -> packed posterior, docs/bandit.md | jobs/streaming/bandit | none |
| `model:current` | string, JSON | version, dims, hashes, offsets, published_ms | publication of the version | none |

schemas/lists.py says what a list is. `field` is `category` or one of PLACES.
"""

PLACES = ("location", "age", "device")  # what a reader may know about a stranger, the most informative first
SESSION_TTL_MS = 3_600_000
LIVE_TTL_MS = 1_800_000
TOGETHER_TTL_MS = 86_400_000
HIDDEN_MAX = 1_000  # items of a user
FOREVER_MS = 3_155_760_000_000  # 100 years


def session(user_id: str) -> str:
    return f"session:{user_id}"


def hidden(user_id: str) -> str:
    return f"hidden:{user_id}"


def live(version: str, user_id: str) -> str:
    return f"live:{version}:{user_id}"


def recs(version: str, user_id: str) -> str:
    return f"recs:{version}:{user_id}"


def popular(version: str) -> str:
    return f"popular:{version}"


def popular_by(version: str, field: str, value: str) -> str:
    return f"popular:{version}:{field}:{value}"


def trending() -> str:
    return "trending"


def trending_by(version: str, field: str, value: str) -> str:
    return f"trending:{version}:{field}:{value}"


def similar(version: str, item_id: str) -> str:
    return f"similar:{version}:{item_id}"


def also_viewed(item_id: str) -> str:
    return f"also_viewed:{item_id}"


def bought_together(item_id: str) -> str:
    return f"bought_together:{item_id}"


def bandit(policy: str, version: str) -> str:
    """version: of what was learnt (udfs/bandit/sums_version.py)."""
    return f"{bandits()}{policy}:{version}"


def bandits() -> str:
    """The beginning of the keys of arms."""
    return "bandit:"


def model_current() -> str:
    return "model:current"


def together() -> tuple[str, ...]:
    """The beginnings of the keys of lists that follow the log alone, and of some others."""
    return also_viewed(""), bought_together(""), trending()


def of_versions() -> tuple[str, ...]:
    """The beginnings of the keys of lists that are of a version."""
    return "live:", "recs:", "similar:", "popular:", "trending:"
