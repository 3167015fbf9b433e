"""Lets every key of a Redis client begin with redis.key_prefix. Who uses the client knows nothing of it.

So two shops, or staging and production, share one Redis. It goes by a list of commands: one that is not in it is
refused, as nobody would know where its keys are.
"""

from collections.abc import Sequence
from typing import Any

KEYLESS = {"PING", "DBSIZE", "INFO", "CONFIG GET", "CONFIG SET", "FLUSHALL", "FLUSHDB", "SHUTDOWN", "TIME"}
FIRST = {"GET", "SET", "STRLEN", "TTL", "PTTL", "TYPE", "PEXPIRE", "PEXPIREAT", "PEXPIRETIME", "EXPIRE", "EXPIREAT"}
FIRST |= {"HGET", "HSET", "HSETNX", "HDEL", "HMGET", "HGETALL", "HKEYS", "HLEN", "HEXISTS"}
FIRST |= {"ZADD", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZSCORE", "ZCARD"}
EVERY = {"MGET", "UNLINK", "DEL", "EXISTS"}
COUNTED = {"EVAL", "EVALSHA"}  # the second argument says how many keys follow


def prefix_keys(client: Any, prefix: str) -> Any:
    """Returns the client, of one server or of a cluster, and so do its pipelines."""
    _wrap(client, prefix.encode())
    make = client.pipeline

    def pipeline(*arguments: Any, **options: Any) -> Any:
        made = make(*arguments, **options)
        _wrap(made, prefix.encode())
        return made

    client.pipeline = pipeline
    return client


def _wrap(client: Any, prefix: bytes) -> None:
    execute = client.execute_command

    def execute_command(*arguments: Any, **options: Any) -> Any:
        answer = execute(*with_prefix(arguments, prefix), **options)
        if arguments[0] != "SCAN":
            return answer
        cursor, keys = answer
        return cursor, [key[len(prefix) :] for key in keys]

    client.execute_command = execute_command


def with_prefix(arguments: Sequence[Any], prefix: bytes) -> list[Any]:
    """Returns a command with the prefix before each of its keys. Raises ValueError if the command is not known."""
    name, *rest = arguments
    match str(name).upper():
        case word if word in KEYLESS:
            return [name, *rest]
        case word if word in FIRST:
            return [name, _longer(rest[0], prefix), *rest[1:]]
        case word if word in EVERY:
            return [name, *(_longer(each, prefix) for each in rest)]
        case word if word in COUNTED:
            end = 2 + int(rest[1])
            return [name, *rest[:2], *(_longer(each, prefix) for each in rest[2:end]), *rest[end:]]
        case "SCAN":
            return [name, *_scan(rest, prefix)]
        case word:
            raise ValueError(f"redis.key_prefix: where the keys of {word} are is not known")


def _longer(key: Any, prefix: bytes) -> bytes:
    return prefix + (key if isinstance(key, bytes) else str(key).encode())


def _scan(rest: list[Any], prefix: bytes) -> list[Any]:
    """Cursor, then pairs of words. A pattern is of the name without the prefix."""
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in rest]
    if "MATCH" not in words:
        return [*rest, "MATCH", prefix + b"*"]
    at = words.index("MATCH") + 1
    return [*rest[:at], _longer(rest[at], prefix), *rest[at + 1 :]]
