"""Peer: quixstreams, one process. Durable: RocksDB (or its store in memory) and a changelog topic, at least once."""

import sys
import time
from typing import Any

import msgspec
from quixstreams import Application, State
from quixstreams.sinks import BatchingSink, SinkBatch
from quixstreams.state.memory import MemoryStore
from quixstreams.state.rocksdb import RocksDBStore

from benchmarks.peers.features import User, count, decode
from benchmarks.peers.live_sessions import LiveSessions
from headrace.infra.settings import Settings, load
from headrace.schemas import topics

COMMIT_EVERY = 10_000  # messages between two checkpoints; the sink writes at each
COMMIT_INTERVAL_S = 1
STORES = {"heap": MemoryStore, "rocksdb": RocksDBStore}


class Redis(BatchingSink):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.sessions = LiveSessions(settings.redis.client())

    def write(self, batch: SinkBatch) -> None:
        self.sessions.write({item.value[0]: item.value[1] for item in batch}.items())


def main(settings: Settings, directory: str, store: str) -> None:
    app = Application(
        settings.kafka.bootstrap,
        consumer_group=f"session_features-{time.time_ns()}",  # begins anew
        auto_offset_reset="earliest",
        commit_every=COMMIT_EVERY,
        commit_interval=COMMIT_INTERVAL_S,
        state_dir=directory,
        loglevel="WARNING",
    )
    rules = settings.session

    def advance(value: bytes, key: Any, append_ms: int, headers: Any, state: State) -> tuple[str, User] | None:
        try:
            click = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        packed = state.get_bytes("user")
        user = msgspec.msgpack.decode(packed, type=User) if packed else User()
        if not count(user, click, append_ms, rules):
            return None
        state.set_bytes("user", msgspec.msgpack.encode(user))
        return click.user_id, user

    clicks = app.dataframe(app.topic(topics.CLICKS, key_deserializer="bytes", value_deserializer="bytes"))
    clicks.register_store(STORES[store])
    users = clicks.apply(advance, stateful=True, metadata=True)  # (user_id, User)
    users.filter(lambda user: user is not None).sink(Redis(settings))
    app.run()


if __name__ == "__main__":
    main(load(), *sys.argv[1:])
