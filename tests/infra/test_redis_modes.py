"""Redis behind Sentinel, and a Redis Cluster: the same client calls, on real servers."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError

from headrace.infra.settings import load
from tests.edge.broker import free_port
from tests.stack.running import wait

Servers = list[subprocess.Popen[bytes]]


@pytest.fixture
def servers() -> Iterator[Servers]:
    started: Servers = []
    yield started
    for process in started:
        process.terminate()
        process.wait()


def server(servers: Servers, folder: Path, lines: list[str], *options: str) -> int:
    program, port = shutil.which("redis-server"), free_port()
    if not program:
        pytest.skip("no redis-server: `headrace doctor` says how to get it")
    conf = folder / f"{port}.conf"
    conf.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {folder}", *lines]))
    servers.append(subprocess.Popen([program, str(conf), *options], stdout=subprocess.DEVNULL))
    wait(lambda: answers(port), 20, lambda: "Redis does not answer")
    return port


def answers(port: int) -> bool:
    try:
        with Redis(port=port, password="s3cret") as client:
            return bool(client.ping())
    except RedisError as error:
        return "without any password" in str(error)  # a sentinel


def use(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    for name, value in ({"PASSWORD": "s3cret"} | settings).items():
        monkeypatch.setenv(f"HEADRACE_REDIS__{name}", str(value))


def write_and_read() -> None:
    client = load().redis.client()
    pipeline = client.pipeline(transaction=False)
    for n in range(20):
        pipeline.set(f"key{n}", n)
    pipeline.execute()
    assert [client.get(f"key{n}") for n in range(20)] == [f"{n}".encode() for n in range(20)]
    assert len(list(client.scan_iter("key*"))) == 20


def test_the_master_is_asked_of_the_sentinels(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = server(servers, tmp_path, ["requirepass s3cret"])
    lines = [f"sentinel monitor shop 127.0.0.1 {master} 1", "sentinel auth-pass shop s3cret"]
    sentinel = server(servers, tmp_path, lines, "--sentinel")
    use(monkeypatch, MODE="sentinel", NODES=f"127.0.0.1:{free_port()},127.0.0.1:{sentinel}", MASTER="shop")
    write_and_read()


def test_a_cluster(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["requirepass s3cret", "cluster-enabled yes"]
    buses, ports = [free_port(), free_port()], []
    for n in range(2):
        own = [f"cluster-config-file nodes-{n}.conf", f"cluster-port {buses[n]}"]
        ports.append(server(servers, tmp_path, [*options, *own]))
    clients: list[Any] = [Redis(port=port, password="s3cret") for port in ports]
    for client, slots in zip(clients, ("0 8191", "8192 16383"), strict=True):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots.split())
    clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1], buses[1])
    wait(lambda: all("cluster_state:ok" in info(client) for client in clients), 30, lambda: "the cluster is not ready")
    use(monkeypatch, MODE="cluster", NODES=f"127.0.0.1:{ports[0]}")
    write_and_read()
    for client in clients:
        client.close()


def info(client: Any) -> str:
    found = client.execute_command("CLUSTER INFO")
    return str(found if isinstance(found, bytes | str) else [f"{name}:{value}" for name, value in found.items()])
