"""The peers' Python environment, apart from ours: uv makes it from benchmarks/requirements.txt at its first use."""

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from headrace.infra import paths

PEERS = ("bytewax", "confluent-kafka", "implicit", "kafka-python", "quixstreams")
LOCK = Path(__file__).parent.parent / "requirements.txt"


@lru_cache(1)
def python() -> str:
    folder = paths.cache() / "env" / "peers"
    uv = shutil.which("uv", path=f"{paths.cache()}/uv/bin{os.pathsep}{os.environ['PATH']}") or "uv"
    if not folder.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", "3.11", folder], check=True)
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", folder / "bin" / "python", LOCK], check=True)
    return str(folder / "bin" / "python")


def versions() -> dict[str, str]:
    pins = dict(line.split("==") for line in LOCK.read_text().splitlines() if line[:1].isalpha())
    return {name: pins[name] for name in PEERS}


def start(module: str, *arguments: Any) -> "subprocess.Popen[bytes]":
    """Run benchmarks.peers.MODULE; what it says goes to logs/MODULE.log of the benchmarks' home."""
    paths.logs().mkdir(parents=True, exist_ok=True)
    log = (paths.logs() / f"{module}.log").open("wb")
    command = [python(), "-m", f"benchmarks.peers.{module}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=paths.PACKAGE, stdout=log, stderr=log)
