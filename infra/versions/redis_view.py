"""What Redis shows of published versions (docs/redis.md), but for a night's lists, see infra/versions/list_files.py."""

from typing import TYPE_CHECKING, Any

import msgspec

from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Model, Pointer
from headrace.schemas import redis_keys
from headrace.schemas.lists import Entry, Listed, encode

if TYPE_CHECKING:
    from redis import Redis


def show(client: "Redis", model: Model, pointer: Pointer, rules: ItemRules) -> None:
    """Writes the version's popular list, and then the pointer to the version."""
    described = model.manifest
    show_popular(client, model, rules)
    shown: dict[str, Any] = {"version": described.version, "dims": described.dims, "hashes": described.sha256}
    shown |= {"offsets": described.lineage.get("offsets", {}), "published_ms": pointer.published_ms}
    client.set(redis_keys.model_current(), msgspec.json.encode(shown))


def show_popular(client: "Redis", model: Model, rules: ItemRules) -> None:
    """Writes the version's popular list, without what the rules leave out by now, under the version's own key."""
    described, popular = model.manifest, model.contents.popular
    items = [Entry(item, float(users), "popular") for item, users in popular if not rules.forbids(item)]
    client.set(redis_keys.popular(described.version), encode(Listed(described.version, described.created_ms, items)))


def serving(client: "Redis") -> str | None:
    """Returns the version that Redis names as the one that serves; None without one."""
    value: Any = client.get(redis_keys.model_current())
    return str(msgspec.json.decode(value)["version"]) if value else None


def unlink(client: "Redis", gone: list[str]) -> None:
    """Unlinks the popular lists of versions that are gone; their live lists expire by themselves."""
    for version in gone:
        client.unlink(redis_keys.popular(version))
