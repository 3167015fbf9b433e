"""`headrace install`: the environments in which commands, jobs and tasks run, each from its own locked requirements.

    streaming   Flink's jobs, the local stack
    batch       the night: Spark, torch
    edge        Flower's nodes
    airflow     the scheduler

The engines' dependencies conflict, so each environment is a virtual environment of its own, in cache/env/NAME. Headrace
itself is installed in it as it is installed here: from the checkout, or as the same wheel.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError

MARKS = {"streaming": "pyflink", "batch": "pyspark", "edge": "flwr", "airflow": "airflow"}  # a module of it alone
READY = ".ready"


def ready(name: str) -> Path:
    """Its interpreter; HeadraceError where it is missing or half made."""
    if not (paths.environment(name) / READY).exists():
        raise HeadraceError(f"no {name} environment at {paths.environment(name)}: `headrace install {name}` makes it")
    return paths.python(name)


def enter(name: str) -> None:
    """Goes on in the environment: where this one lacks it, the command runs again there, in place of this process."""
    if find_spec(MARKS[name]):
        return
    python = str(ready(name))
    os.execv(python, [python, "-m", "headrace", *sys.argv[1:]])


def install(name: str) -> None:
    """Makes it, or brings it to the locked versions."""
    with durable.locked(paths.cache()):
        python, mark = paths.python(name), paths.environment(name) / READY
        mark.unlink(missing_ok=True)
        uv("venv", "--allow-existing", "--python", "3.11", str(paths.environment(name)))
        lock = str(paths.REQUIREMENTS / f"{name}.txt")
        uv("pip", "sync", "--python", str(python), lock)
        if paths.is_checkout():  # what its tests need
            tests = str(paths.REQUIREMENTS / ("dev.txt" if name == "streaming" else "test.in"))
            uv("pip", "install", "--python", str(python), "-c", lock, "-r", tests)
        uv("pip", "install", "--python", str(python), "--no-deps", *(["--editable"] * paths.is_checkout()), source())
        mark.touch()


def source() -> str:
    """What pip is told to install for this very Headrace: the checkout, or its wheel."""
    return str(paths.PACKAGE if paths.is_checkout() else wheel(paths.cache() / "wheel"))


def wheel(folder: Path) -> Path:
    """The wheel that this installation came from, packed again from its files: no index is asked for it."""
    distribution = metadata.distribution("headrace")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packed = folder / f"headrace-{distribution.version}-py3-none-any.whl"
    record = next(file for file in distribution.files or [] if file.name == "RECORD")
    own = [file for file in distribution.files or [] if file.parts[0] in ("headrace", record.parts[0])]
    added = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}  # by whoever installed it
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        kept = [
            file for file in own if file.suffix != ".pyc" and not (file.parent == record.parent and file.name in added)
        ]
        for file in kept:
            archive.write(str(file.locate()), str(file))
        archive.writestr(str(record), "".join(f"{file},,\n" for file in [*kept, record]))
    return packed


def uv(*arguments: str) -> None:
    done = subprocess.run([str(_uv()), *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise HeadraceError(f"uv {' '.join(arguments)} failed: {done.stderr.strip()}")


def _uv() -> Path:
    """uv of the locked version, in a folder of its own."""
    folder = paths.cache() / "uv"
    if not (folder / "bin" / "uv").exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(paths.REQUIREMENTS / "uv.txt")],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise HeadraceError(f"{' '.join(command)} failed: {said[-1] if said else 'it said nothing'}")
    return folder / "bin" / "uv"
