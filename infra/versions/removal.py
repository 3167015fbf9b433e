"""Takes what the rules leave out from the lists that are in Redis already.

It is the one thing of ours that reads a list to write it again. A list is replaced only if it is still the one that was
read, so a newer one that a job writes meanwhile stays.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.infra.versions.rules import ItemRules
from headrace.schemas import lists

if TYPE_CHECKING:
    from redis import Redis

PAGE = 1_000  # keys a round trip
# KEYS: the list's; ARGV: what was read, and what it becomes, empty if nothing is left. It keeps its expiry.
REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('UNLINK', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1"""


def remove(client: "Redis", begins: tuple[str, ...], rules: ItemRules) -> int:
    """Returns how many lists held such an item. begins: of their keys, schemas/redis_keys.py."""
    found, changed = _keys(client, begins), 0
    while keys := list(islice(found, PAGE)):
        changed += _replace(client, keys, rules)
    return changed


def _keys(client: "Redis", begins: tuple[str, ...]) -> Iterator[bytes]:
    prefixes = tuple(begin.encode() for begin in begins)
    found: Any = client.scan_iter(count=PAGE, _type="string")
    return (key for key in found if key.startswith(prefixes))


def _replace(client: "Redis", keys: list[bytes], rules: ItemRules) -> int:
    read = client.pipeline(transaction=False)
    for key in keys:
        read.get(key)
    write: Any = client.pipeline(transaction=False)  # redis-py's types know no bytes
    for key, value in zip(keys, read.execute(), strict=True):
        changed = value and _without(value, rules)
        if changed != value:
            write.eval(REPLACE, 1, key, value, changed or b"")
    return sum(map(bool, write.execute()))


def _without(value: bytes, rules: ItemRules) -> bytes | None:
    try:
        return lists.without(value, rules.forbids)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value  # not a list of ours
