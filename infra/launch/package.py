"""`make package`: writes to dist/ what `flink run` needs on a machine without this checkout.

headrace-env.tar.gz     Python environment of the workers and of the client, with our package in it
headrace-flink.jar      Kafka connector and udfs/jvm
NAME.py                 the jobs of `headrace submit`, a file each
settings.toml           every setting with its default: edit, and name it in HEADRACE_SETTINGS
rules.toml              what no list may hold, which settings.toml names
"""

import shutil
import tarfile
from pathlib import Path

from rich.console import Console

from headrace.infra import environments, paths, settings_files
from headrace.infra.launch import streaming
from headrace.infra.stack import jars

LOCK = paths.REQUIREMENTS / "streaming.txt"
# Flink's own jars: the cluster has them.
LEFT_OUT = "apache-flink-libraries"


def package(console: Console, out: Path) -> None:
    jars.ensure()
    build = paths.cache() / "build" / "package"
    shutil.rmtree(build, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    if paths.is_checkout():  # setuptools would pack what it left in build/ last time
        shutil.rmtree(paths.PACKAGE / "build", ignore_errors=True)
    with console.status("installing the workers' environment"):
        _environment(build / "env", build)
    with console.status("packing"), tarfile.open(out / "headrace-env.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(build / "env", arcname=".", filter=_without_caches)
    shutil.copy2(paths.job_jar(), out)
    shutil.copy2(settings_files.DEFAULTS, out)
    shutil.copy2(paths.CONFIG / "rules.toml", out)
    for job in streaming.JOBS:
        shutil.copy2(streaming.script(job), out)
    for file in sorted(out.iterdir()):
        console.print(f"  {file.stat().st_size / 2**20:7.1f} MiB  {file}", highlight=False, soft_wrap=True)


def _environment(env: Path, build: Path) -> None:
    build.mkdir(parents=True)
    locked = build / "requirements.txt"
    locked.write_text("".join(line for line in LOCK.open() if not line.startswith(f"{LEFT_OUT}==")))
    python = str(env / "bin" / "python")
    environments.uv("venv", "--relocatable", "--python", "3.11", str(env))
    environments.uv("pip", "install", "--python", python, "--no-deps", "-r", str(locked), environments.source())


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
