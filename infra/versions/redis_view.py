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
    """Writes the version's popular list, without what the rules leave out by now, and then the pointer to it."""
    described, popular = model.manifest, model.contents.popular
    items = [Entry(item, float(users), "popular") for item, users in popular if not rules.forbids(item)]
    listed = encode(Listed(described.version, described.created_ms, items))
    shown: dict[str, Any] = {"version": described.version, "dims": described.dims, "hashes": described.sha256}
    shown |= {"offsets": described.lineage.get("offsets", {}), "published_ms": pointer.published_ms}
    client.set(redis_keys.popular(described.version), listed)
    client.set(redis_keys.model_current(), msgspec.json.encode(shown))


def unlink(client: "Redis", gone: list[str]) -> None:
    """Unlinks the popular lists of versions that are gone; their live lists expire by themselves."""
    for version in gone:
        client.unlink(redis_keys.popular(version))
