"""`make package`, then the steps of docs/cluster.md, on a cluster without the checkout and its environment."""

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from headrace.infra import paths
from tests.stack.compare import differences, oracle_of
from tests.stack.running import Stack, wait
from tests.streams.clicks import DAY_MS, combined, records, sweepers

pytestmark = [pytest.mark.stack, pytest.mark.shop]
FLINK = ("apache-flink==2.3.0", "apache-flink-libraries==2.3.0")


class Cluster(NamedTuple):
    home: Path
    rest_port: int

    @property
    def bin(self) -> Path:
        return next(self.home.glob("lib/python3.11/site-packages/pyflink/bin"))

    def has_slots(self) -> bool:
        with urllib.request.urlopen(f"http://localhost:{self.rest_port}/overview", timeout=5) as response:
            return bool(json.loads(response.read())["slots-available"])

    def run(self, command: list[str], cwd: Path, **environment: str) -> str:
        """Runs a command in an environment that holds nothing of ours."""
        bare = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "FLINK_CONF_DIR": str(self.home / "conf")}
        if "JAVA_HOME" in os.environ:
            bare["JAVA_HOME"] = os.environ["JAVA_HOME"]
        bare |= {"FLINK_LOG_DIR": str(self.home / "log"), "FLINK_PID_DIR": str(self.home)}
        done = subprocess.run(command, cwd=cwd, env=bare | environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def second_cluster(home: Path) -> Iterator[Cluster]:
    uv = paths.cache() / "uv" / "bin" / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", home], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-deps", "--python", home / "bin" / "python"]
    subprocess.run([*install, *FLINK], check=True)
    cluster = Cluster(home, free_port())
    default = yaml.safe_load((cluster.bin.parent / "conf" / "config.yaml").read_text())
    addresses = {"rest.port": cluster.rest_port, "jobmanager.rpc.port": free_port(), "io.tmp.dirs": str(home / "tmp")}
    for folder in ("tmp", "log"):
        (home / folder).mkdir(exist_ok=True)
    shutil.copytree(cluster.bin.parent / "conf", home / "conf")
    options = {"env.java.opts.all": default["env"]["java"]["opts"]["all"], "jobmanager.rpc.address": "localhost"}
    options |= {"jobmanager.memory.process.size": "1024m", "taskmanager.memory.process.size": "2048m"}
    (home / "conf" / "config.yaml").write_text(
        yaml.safe_dump(options | {"taskmanager.numberOfTaskSlots": 2} | addresses, width=10_000)
    )
    try:
        for program in ("jobmanager.sh", "taskmanager.sh"):
            cluster.run([str(cluster.bin / program), "start"], home)
        wait(cluster.has_slots, 60, lambda: "the second cluster has no slots")
        yield cluster
    finally:
        for program in ("taskmanager.sh", "jobmanager.sh"):
            cluster.run([str(cluster.bin / program), "stop"], home)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def documented_command() -> str:
    """Returns what docs/cluster.md tells a user to type."""
    text = (paths.PACKAGE / "docs" / "cluster.md").read_text()
    block = re.search(r"(?: {4}.*\n)+(?= *\n## Settings that change)", text)
    assert block
    return block[0]


def test_the_packaged_job_runs_elsewhere_and_writes_the_same(stack: Stack, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    stack.run("package", "--out", str(dist), timeout_s=500)
    settings = (dist / "settings.toml").read_text()
    assert (dist / "rules.toml").read_bytes() == (paths.CONFIG / "rules.toml").read_bytes()  # which they name
    redis, kafka = stack.settings.redis, stack.settings.kafka
    own = {
        "bootstrap": f'"{kafka.bootstrap}"',
        "host": f'"{redis.host}"',
        "port": redis.port,
        "checkpoint_interval_s": 2,
    }
    for name, value in own.items():
        settings, found = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value}", settings, count=1)
        assert found == 1
    (dist / "settings.toml").write_text(settings)
    stream = combined(["view", "click", "purchase"])[:5000]
    stack.send(records(stream))
    stack.send(sweepers(stream[-1][0] + DAY_MS, kafka.partitions))
    oracle = oracle_of(stack.settings)
    with second_cluster(tmp_path / "elsewhere") as cluster:
        said = cluster.run(["bash", "-ec", documented_command()], dist)
        assert "Job has been submitted" in said
        different = partial(differences, stack.settings, oracle)
        wait(lambda: not different(), 120, lambda: "\n".join(different()))
