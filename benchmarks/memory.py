"""Memory of each process after so many users, and bytes of state per user, on heap and on RocksDB."""

from typing import Any

from benchmarks import clicks, stack
from benchmarks.harness import Result, table
from headrace.infra.clients import flink
from headrace.infra.settings import Settings

MB = 1e6


def main(events: int) -> Result:
    settings = stack.up()
    stack.empty(settings)
    clicks.load(events)
    ours = {store: measure(settings, store) for store in stack.STORES}
    programs = ours["heap"]["rss_mb"]
    rows = [(name, *(each["rss_mb"][name] for each in ours.values())) for name in programs]
    table("resident, MB", ("process", *ours), rows)
    columns = ("store", "users", "checkpoint_mb", "bytes_per_user")
    table("state", columns, [(store, *(each[column] for column in columns[1:])) for store, each in ours.items()])
    ratio = ours["heap"]["bytes_per_user"] / ours["rocksdb"]["bytes_per_user"]
    conditions = {"clicks": events, "data": clicks.source().title, "history": settings.session.history}
    return Result("memory", ours, {}, round(ratio, 3), "bytes per user on heap over on RocksDB", "bytes", conditions)


def measure(settings: Settings, store: str) -> dict[str, Any]:
    client = stack.redis(settings)
    stack.empty_redis(settings)
    with stack.job(settings, store, 1) as job:
        stack.wait(lambda: client.exists(*clicks.MARK_KEYS) == clicks.MARKS, "all clicks in Redis")
        done = flink.checkpoints_completed(settings.flink, job)
        # Of the two the second began after the last click.
        stack.wait(lambda: flink.checkpoints_completed(settings.flink, job) >= done + 2, "two more checkpoints")
        latest = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")["latest"]["completed"]
        users = stack.sessions(client)
        return {
            "users": users,
            "checkpoint_mb": round(latest["state_size"] / MB, 1),
            "bytes_per_user": round(latest["state_size"] / users),
            "rss_mb": {name: round(size / MB) for name, size in _resident().items()},
        }


def _resident() -> dict[str, int]:
    """By program; the Python workers of the TaskManager together, apart from it."""
    sizes: dict[str, int] = {}
    for name, program in stack.processes().items():
        for process in stack.tree(program):
            kind = "python workers" if process.name().startswith("python") else name
            sizes[kind] = sizes.get(kind, 0) + process.memory_info().rss
    return sizes
