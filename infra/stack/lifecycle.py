"""`headrace up` and `headrace down`."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from headrace.infra import durable, job_notes, paths
from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings, load
from headrace.infra.stack import health, jars, ports, prerequisites, programs, rendering, supervision
from headrace.infra.stack.ports import LOCALHOST

POLL_S = 0.2
GUILTY_LINES = 15
HOUR_S = 3600
WRITTEN = ("kafka", "redis", "flink", "zookeeper", "models", "logs", "tmp")  # folders of a home that the stack writes


def up(console: Console) -> None:
    begun = time.monotonic()
    settings = load()
    _refuse_remote(settings)
    with _alone():
        _stage(console, "tools", prerequisites.ensure)
        _stage(console, "jars", jars.ensure)
        if supervision.running():
            restarted = supervision.start_stopped()
            result = f"started {', '.join(restarted)}" if restarted else "the stack was up already"
            _wait_healthy(settings, console)
        else:
            supervision.end_orphans()
            settings = _start(settings, console)
            result = "the stack is up"
        kafka_topics.create(settings.kafka)
        _drop_old_checkpoints(settings)
    took = f"{time.monotonic() - begun:.1f} s"
    console.print(f"{result} ({took}): Flink UI http://{settings.flink.rest}, logs in {paths.logs()}", soft_wrap=True)


def _start(settings: Settings, console: Console) -> Settings:
    """Starts the programs, one stack of this machine at a time: a chosen port is free until a program listens on it."""
    with durable.locked(Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}"):
        settings = _configure(settings, console)
        _stage(console, "storage", _format_kafka)
        _drop_unfinished_results()
        supervision.start()
        _wait_healthy(settings, console)
    return settings


def down(console: Console, forget: bool = False) -> None:
    with _alone(), console.status("ending Flink, Redis, Kafka"):
        was_up = supervision.stop()
        orphans = supervision.end_orphans()
        for name in WRITTEN if forget else ():
            shutil.rmtree(paths.home() / name, ignore_errors=True)
    console.print("the stack is down" if was_up or orphans else "the stack was not up")
    if forget:
        console.print(f"deleted {', '.join(WRITTEN)} in {paths.home()}", soft_wrap=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Lets one `up` or `down` of a home in at a time. Raises HeadraceError at once if another is at work."""
    lock = paths.home() / "run" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeadraceError(f"another `headrace up` or `down` of {paths.home()} is at work") from None
        yield


def _configure(settings: Settings, console: Console) -> Settings:
    """Chooses ports, remembers them, and writes every program's configuration."""
    chosen, moved = ports.choose(settings.stack)
    for line in moved:
        console.print(line, soft_wrap=True)
    _remember(chosen)
    settings = load()
    _refuse_overridden(settings, chosen)
    rendering.write_all(settings)
    return settings


def _refuse_overridden(settings: Settings, chosen: dict[str, int]) -> None:
    """Raises HeadraceError if a setting overrides an address: commands would look elsewhere than the stack listens."""
    redis = f"{settings.redis.host}:{settings.redis.port}"
    spelled = {"kafka.bootstrap": settings.kafka.bootstrap, "redis": redis, "flink.rest": settings.flink.rest}
    spelled |= {f"stack.{name}": str(port) for name, port in ports.wished(settings.stack).items()}
    for name, local in (_addresses(chosen) | {f"stack.{name}": str(port) for name, port in chosen.items()}).items():
        if spelled[name] != local:
            paths.stack_toml().unlink()
            raise HeadraceError(
                f"{name} is set to {spelled[name]} in the environment or HEADRACE_SETTINGS, but the stack's is {local}"
            )


def _refuse_remote(settings: Settings) -> None:
    protocol = settings.kafka.security_protocol
    if protocol != "PLAINTEXT":
        raise HeadraceError(f"the stack's Kafka speaks PLAINTEXT, but kafka.security_protocol is {protocol}")
    if settings.redis.tls:
        raise HeadraceError("the stack's Redis speaks no TLS, but redis.tls is true")


def _addresses(chosen: dict[str, int]) -> dict[str, str]:
    return {
        "kafka.bootstrap": f"{LOCALHOST}:{chosen['kafka_port']}",
        "redis": f"{LOCALHOST}:{chosen['redis_port']}",
        "flink.rest": f"{LOCALHOST}:{chosen['flink_port']}",
    }


def _remember(chosen: dict[str, int]) -> None:
    local = _addresses(chosen)
    lines = [
        "# Written by `headrace up`: where the local stack listens. Jobs that run hold these addresses.",
        f'[kafka]\nbootstrap = "{local["kafka.bootstrap"]}"',
        f'[redis]\nhost = "{LOCALHOST}"\nport = {chosen["redis_port"]}',
        f'[flink]\nrest = "{local["flink.rest"]}"',
        "[stack]",
        *(f"{name} = {port}" for name, port in chosen.items()),
    ]
    paths.stack_toml().write_text("\n".join(lines) + "\n")


def _format_kafka() -> None:
    data = paths.home() / "kafka"
    if (data / "meta.properties").exists():
        return
    conf = paths.home() / "conf" / "kafka.properties"
    cluster_id = uuid.uuid4().hex[:22]
    tool = programs.kafka_java(64, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(conf))
    done = subprocess.run(tool, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise HeadraceError(f"Kafka's storage could not be formatted: {(done.stderr or done.stdout).strip()}")


def _drop_unfinished_results() -> None:
    """Removes results of jobs that ended before they began, as by a refused savepoint: the JobManager dies of them."""
    for left in (paths.home() / "flink" / "ha" / "job-result-store").glob("**/*_DIRTY.json"):
        left.unlink()


def _stage(console: Console, name: str, work: Callable[[], None]) -> None:
    begun = time.monotonic()
    with console.status(name):
        work()
    console.print(f"  {name:<12} {time.monotonic() - begun:5.1f} s")


def _wait_healthy(settings: Settings, console: Console) -> None:
    checks = health.checks(settings)
    listening = {each.name: each.port for each in programs.all_programs(settings.stack)}
    begun = time.monotonic()
    with console.status(f"waiting for {', '.join(checks)}"), ThreadPoolExecutor(len(checks)) as pool:
        waits = {
            pool.submit(_wait, name, check, settings.stack.start_timeout_s): name for name, check in checks.items()
        }
        for done in as_completed(waits):
            done.result()
            name = waits[done]
            console.print(f"  {name:<12} {time.monotonic() - begun:5.1f} s  {LOCALHOST}:{listening[name]}")


def _wait(name: str, healthy: health.Check, timeout_s: int) -> None:
    deadline = time.monotonic() + timeout_s
    while not healthy():
        if time.monotonic() > deadline:
            raise HeadraceError(f"{name} is not healthy after {timeout_s} s; the end of its log:\n{_last_words(name)}")
        time.sleep(POLL_S)


def _last_words(name: str) -> str:
    log = paths.logs() / programs.LOG_NAMES[name]
    return "\n".join(log.read_text(errors="replace").splitlines()[-GUILTY_LINES:]) if log.exists() else "(no log)"


def _drop_old_checkpoints(settings: Settings) -> None:
    """Removes checkpoints of runs that Flink no longer knows, once they are older than stack.checkpoint_kept_h.

    Those of a job's newest run stay: `submit` goes on from them.
    """
    known = flink.ids(settings.flink) | job_notes.noted_ids()
    oldest_s = time.time() - settings.stack.checkpoint_kept_h * HOUR_S
    for folder in (paths.home() / "flink" / "checkpoints").glob("*"):
        if folder.name not in known and folder.stat().st_mtime < oldest_s:
            shutil.rmtree(folder, ignore_errors=True)
