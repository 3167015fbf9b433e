"""Reads what a system left in Redis, to compare it with what another one left."""

import marshal
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from headrace.schemas import live_session, redis_keys

BATCH = 2000
State = dict[bytes, bytes]  # key -> its features and expiry, marshalled to keep many of them small


class Comparison(NamedTuple):
    users: int
    differing: int
    example: str


def dump(client: Any) -> State:
    return {key: marshal.dumps(fields) for key, fields in _sessions(client)}


def _sessions(client: Any) -> Iterator[tuple[bytes, dict[str, Any]]]:
    keys = client.scan_iter(redis_keys.session("*"), BATCH)
    while part := list(islice(keys, BATCH)):
        pipeline = client.pipeline(transaction=False)
        for key in part:
            pipeline.get(key)
            pipeline.pexpiretime(key)
        replies = pipeline.execute()
        for key, value, expires_ms in zip(part, replies[::2], replies[1::2], strict=True):
            yield key, live_session.decode(value) | {"(expires at, ms)": expires_ms}


def compare(expected: State, found: State) -> Comparison:
    users = expected.keys() | found.keys()
    different = [key for key in users if _fields(expected, key) != _fields(found, key)]
    return Comparison(len(users), len(different), _example(expected, found, min(different)) if different else "")


def _fields(state: State, key: bytes) -> dict[str, Any]:
    return marshal.loads(state[key]) if key in state else {}


def _example(expected: State, found: State, key: bytes) -> str:
    left, right = _fields(expected, key), _fields(found, key)
    names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return f"{key.decode()}: { ({name: (left.get(name), right.get(name)) for name in names}) }"
