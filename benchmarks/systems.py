"""The compared systems, ours in its variants and the peers; each reads topic `clicks` from its start."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from psutil import Process

from benchmarks import stack
from benchmarks.peers import environment
from headrace.infra.settings import Settings

STOP_S = 30
DURABLE = "checkpoint to disk every 10 s"


class System(NamedTuple):
    name: str
    durability: str
    run: Callable[[Settings], AbstractContextManager[list[Process]]]  # the processes whose CPU counts
    to_redis: bool = True


def ours(store: str, slots: int) -> System:
    @contextmanager
    def run(settings: Settings) -> Iterator[list[Process]]:
        with stack.job(settings, store, slots):
            yield _flink()

    return System(f"headrace {store} {slots} slot{'s' * (slots > 1)}", DURABLE, run)


def blackhole(store: str) -> System:
    """Our job without Redis: what Kafka, the checks and the state alone cost."""

    @contextmanager
    def run(settings: Settings) -> Iterator[list[Process]]:
        with stack.job(settings, store, 1, "--", "--blackhole"):
            yield _flink()

    return System(f"blackhole {store} 1 slot", DURABLE, run, to_redis=False)


def _flink() -> list[Process]:
    programs = stack.processes()
    return [programs["jobmanager"], programs["taskmanager"]]


def peer(name: str, durability: str, module: str, *arguments: Any) -> System:
    @contextmanager
    def run(settings: Settings) -> Iterator[list[Process]]:
        folder = stack.HOME / "peers" / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        process = environment.start(module, folder, *arguments)
        try:
            yield [Process(process.pid)]
        finally:
            process.terminate()
            process.wait(STOP_S)

    return System(name, durability, run)


ALL = [
    *(ours(store, slots) for store in stack.STORES for slots in (1, 2)),
    *(blackhole(store) for store in stack.STORES),
    peer("confluent-kafka loop", "none", "confluent_loop"),
    peer("kafka-python loop", "none", "kafka_python_loop"),
    peer("bytewax", "snapshot to sqlite every 10 s", "bytewax_flow"),
    peer("quixstreams heap", "changelog topic every 10,000 clicks", "quixstreams_app", "heap"),
    peer("quixstreams rocksdb", "RocksDB and changelog topic every 10,000 clicks", "quixstreams_app", "rocksdb"),
]
