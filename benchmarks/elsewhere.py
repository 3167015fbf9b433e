"""Runs parts of the night's benchmarks in other environments, and reads the line of JSON that each prints."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil

from headrace.infra import paths
from headrace.infra.launch import batch
from headrace.infra.settings import load

SAMPLED_S = 0.2


def ours(module: str, *arguments: Any) -> dict[str, Any]:
    """benchmarks.in_batch.MODULE in the batch environment, with Spark as a night has it."""
    return _run(paths.python("batch"), f"benchmarks.in_batch.{module}", arguments, batch.environment(load().spark))


def peer(python: str, module: str, *arguments: Any) -> dict[str, Any]:
    # `implicit` has threads of its own, and warns that those of OpenBLAS slow it down.
    return _run(Path(python), f"benchmarks.peers.{module}", arguments, os.environ | {"OPENBLAS_NUM_THREADS": "1"})


def _run(python: Path, module: str, arguments: tuple[Any, ...], environment: dict[str, str]) -> dict[str, Any]:
    """What the module printed last, and the highest memory of it with all its processes."""
    command = [str(python), "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, cwd=paths.PACKAGE, stdout=subprocess.PIPE, text=True)
    peak = [0]
    watching = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watching.start()
    printed, _ = process.communicate()
    watching.join()
    if process.returncode:
        raise SystemExit(f"{module} ended with {process.returncode}: {printed[-500:]}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found | {"peak_mb": round(peak[0] / 1e6)}


def _watch(process: "subprocess.Popen[str]", peak: list[int]) -> None:
    """Proportional set size: pages that processes share count once."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_memory(each) for each in _family(process.pid)))
        try:
            process.wait(SAMPLED_S)
        except subprocess.TimeoutExpired:
            continue


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
