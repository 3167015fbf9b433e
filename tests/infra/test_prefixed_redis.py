"""redis.key_prefix: two shops on one Redis do not see each other, whatever command they use."""

from typing import Any

import pytest
from redis import Redis

from headrace.infra.errors import SettingsError
from headrace.infra.prefixed_redis import with_prefix
from headrace.infra.settings import load
from tests.edge.conftest import redis, redis_port

__all__ = ["redis", "redis_port"]


def shop(prefix: str, port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"PORT": port, "HOST": "127.0.0.1", "KEY_PREFIX": prefix}.items():
        monkeypatch.setenv(f"HEADRACE_REDIS__{name}", str(value))
    return load().redis.client()


def test_two_shops_share_a_redis(redis: Redis, redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = [shop(prefix, redis_port, monkeypatch) for prefix in ("a:", "b:")]
    for name, client in zip("ab", clients, strict=True):
        client.set("session:ann", name)
        pipeline = client.pipeline(transaction=False)
        pipeline.hset("bandit:linucb", "lamp", name)
        pipeline.zadd("hidden:ann", {"lamp": 1})
        pipeline.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "trending", name)
        pipeline.execute()
    assert set(redis.scan_iter()) == {
        prefix + key
        for prefix in (b"a:", b"b:")
        for key in (b"session:ann", b"bandit:linucb", b"hidden:ann", b"trending")
    }
    for value, client in zip((b"a", b"b"), clients, strict=True):
        assert client.get("session:ann") == client.hget("bandit:linucb", "lamp") == client.get("trending") == value
        assert client.mget("session:ann", "nobody") == [value, None]
        assert set(client.scan_iter()) == {b"session:ann", b"bandit:linucb", b"hidden:ann", b"trending"}
        assert list(client.scan_iter("session:*", count=2, _type="string")) == [b"session:ann"]
        assert client.exists("session:ann", "trending", "nobody") == 2
    assert clients[0].unlink("session:ann", "trending") == 2
    assert clients[1].exists("session:ann", "trending") == 2


def test_a_command_whose_keys_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="where the keys of MSET are is not known"):
        with_prefix(("MSET", "a", 1), b"shop:")


@pytest.mark.parametrize("prefix", ["a*", "a b", "[a]", "é\n"])
def test_a_prefix_is_no_pattern(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_REDIS__KEY_PREFIX", prefix)
    with pytest.raises(SettingsError, match=r"redis\.key_prefix"):
        load()
