"""Every Redis key, spelled once.

| key | type | value | written by | ttl |
|---|---|---|---|---|
| `session:{user}` | hash | live session, docs/semantics.md | jobs/streaming/session_features | 1 h from `as_of_ms` |
"""

SESSION_TTL_MS = 3_600_000


def session(user_id: str) -> str:
    return f"session:{user_id}"
