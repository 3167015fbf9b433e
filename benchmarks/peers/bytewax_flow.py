"""Peer: bytewax, one worker. Durable: state and offsets in its sqlite recovery store every 10 s, at least once."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.peers.features import User, count, decode
from benchmarks.peers.live_sessions import LiveSessions
from headrace.infra.settings import Session, Settings, load
from headrace.schemas import topics

BATCH_SIZE = 10_000
SNAPSHOT_EVERY = timedelta(seconds=10)


class History(StatefulBatchLogic[Any, User, bytes]):  # type: ignore[misc]
    """One user's state; emits it once per batch."""

    def __init__(self, rules: Session, snapshot: bytes | None) -> None:
        self.rules = rules
        self.user = msgspec.msgpack.decode(snapshot, type=User) if snapshot else User()

    def on_batch(self, values: list[Any]) -> tuple[list[User], bool]:
        accepted = [count(self.user, click, append_ms, self.rules) for click, append_ms in values]
        return [self.user] if any(accepted) else [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.user)


class Writer(StatelessSinkPartition[tuple[str, User]]):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        self.sessions = LiveSessions(settings.redis.client())

    def write_batch(self, items: list[tuple[str, User]]) -> None:
        self.sessions.write(dict(items).items())


class Redis(DynamicSink[tuple[str, User]]):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Writer:
        return Writer(self.settings)


def parse(message: Any) -> tuple[str, tuple[Any, int]] | None:
    try:
        click = decode(message.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return click.user_id, (click, message.timestamp[1])


def flow(settings: Settings) -> Dataflow:
    flow = Dataflow("session_features")
    source = KafkaSource([settings.kafka.bootstrap], [topics.CLICKS], batch_size=BATCH_SIZE)
    messages = op.input("clicks", flow, source)
    clicks = op.filter_map("parse", messages, parse)  # (user_id, (click, append_ms))
    users = op.stateful_batch("history", clicks, lambda snapshot: History(settings.session, snapshot))
    op.output("redis", users, Redis(settings))  # (user_id, User)
    return flow


def main(settings: Settings, directory: Path) -> None:
    init_db_dir(directory, 1)
    recovery = RecoveryConfig(directory, backup_interval=timedelta(0))
    cli_main(flow(settings), epoch_interval=SNAPSHOT_EVERY, recovery_config=recovery)


if __name__ == "__main__":
    main(load(), Path(sys.argv[1]))
