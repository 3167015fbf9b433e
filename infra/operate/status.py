"""`headrace status`: the programs, jobs and topics, as one dictionary and as tables."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table

from headrace.infra import paths
from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import health, programs, supervision
from headrace.infra.stack.ports import LOCALHOST


def gather(settings: Settings) -> dict[str, Any]:
    jobs = _jobs(settings)
    return {
        "home": str(paths.home()),
        "addresses": _addresses(settings),
        "programs": _programs(settings),
        "jobs": jobs,
        "topics": _topics(settings),
    }


def is_healthy(status: dict[str, Any]) -> bool:
    return bool(status["programs"]) and all(program["healthy"] for program in status["programs"])


def show(status: dict[str, Any], console: Console) -> None:
    if not status["programs"]:
        console.print("the local stack is down: `headrace up` starts it")
    for name in ("programs", "jobs"):
        if status[name]:
            console.print(_table(status[name]))
    if status["topics"]:
        console.print(_table([{"topic": name, "records": records} for name, records in status["topics"].items()]))
    for name, address in status["addresses"].items():
        console.print(f"{name:<12} {address}", soft_wrap=True)


def _addresses(settings: Settings) -> dict[str, str]:
    stack = settings.stack
    return {
        "kafka": settings.kafka.bootstrap,
        "redis": f"{settings.redis.host}:{settings.redis.port}",
        "flink": f"http://{settings.flink.rest}",
        "zookeeper": f"{LOCALHOST}:{stack.zookeeper_port}",
        "prometheus": f"http://{LOCALHOST}:{stack.jobmanager_metrics_port} http://{LOCALHOST}:{stack.taskmanager_metrics_port}",
    }


def _programs(settings: Settings) -> list[dict[str, Any]]:
    processes = supervision.processes()
    if not processes:
        return []
    checks = health.checks(settings)
    ports = {each.name: each.port for each in programs.all_programs(settings.stack)}
    with ThreadPoolExecutor(len(checks)) as pool:
        healthy = dict(zip(checks, pool.map(_healthy, checks.values()), strict=True))
    return [
        {
            "name": each["name"],
            "state": each["statename"],
            "healthy": healthy[each["name"]],
            "pid": each["pid"] or None,
            "port": ports[each["name"]],
            "uptime_s": int(time.time() - each["start"]) if each["pid"] else None,
            "log": str(paths.logs() / programs.LOG_NAMES[each["name"]]),
        }
        for each in processes
    ]


def _healthy(check: health.Check) -> bool:
    with contextlib.suppress(HeadraceError):
        return check()
    return False


def _jobs(settings: Settings) -> list[dict[str, Any]] | None:
    """Returns Flink's jobs; None when Flink does not answer."""
    with contextlib.suppress(HeadraceError):
        return [_job(settings, job) for job in flink.jobs(settings.flink)]
    return None


def _job(settings: Settings, job: flink.Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "id": job.id,
        "state": job.state,
        "restarts": flink.restarts(settings.flink, job) if job.state in flink.ALIVE else None,
        "checkpoint_age_s": flink.checkpoint_age_s(settings.flink, job),
    }


def _topics(settings: Settings) -> dict[str, int] | None:
    """Returns the size of each topic; None when Kafka does not answer."""
    with contextlib.suppress(HeadraceError):
        return kafka_topics.sizes(settings.kafka)
    return None


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    columns = [name for name in rows[0] if name != "log"]
    for name in columns:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("-" if row[name] is None else str(row[name]) for name in columns))
    return table
