"""`make package`: what `flink run` needs on a machine without this checkout, in dist/.

headrace-env.tar.gz     Python environment of the workers and of the client, our packages in it
headrace-flink.jar      Kafka connector and udfs/jvm
session_features.py     the job files
settings.toml           every setting with its default: edit, and name it in HEADRACE_SETTINGS
"""

import shutil
import subprocess
import tarfile
from pathlib import Path

from rich.console import Console

from infra import places, submission
from infra.errors import HeadraceError
from infra.stack import jars

LOCK = places.CHECKOUT / "infra" / "requirements" / "streaming.txt"
# Flink's own jars: the cluster has them.
LEFT_OUT = "apache-flink-libraries"


def package(console: Console, out: Path) -> None:
    jars.ensure()
    build = places.cache() / "build" / "package"
    shutil.rmtree(build, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(places.CHECKOUT / "build", ignore_errors=True)  # setuptools would pack what it left there last time
    with console.status("installing the workers' environment"):
        _environment(build / "env", build)
    with console.status("packing"), tarfile.open(out / "headrace-env.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(build / "env", arcname=".", filter=_without_caches)
    shutil.copy2(places.job_jar(), out)
    shutil.copy2(places.SETTINGS_TOML, out)
    for job in submission.known():
        shutil.copy2(submission.JOBS / f"{job}.py", out)
    for file in sorted(out.iterdir()):
        console.print(f"  {file.stat().st_size / 2**20:7.1f} MiB  {file}", highlight=False, soft_wrap=True)


def _environment(env: Path, build: Path) -> None:
    build.mkdir(parents=True)
    locked = build / "requirements.txt"
    locked.write_text("".join(line for line in LOCK.open() if not line.startswith(f"{LEFT_OUT}==")))
    _uv("venv", "--relocatable", "--python", "3.11", str(env))
    _uv("pip", "install", "--python", str(env / "bin" / "python"), "--no-deps", "-r", str(locked))
    _uv("pip", "install", "--python", str(env / "bin" / "python"), "--no-deps", str(places.CHECKOUT))


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [str(places.cache() / "uv" / "bin" / "uv"), *arguments, "--quiet"], capture_output=True, text=True
    )
    if done.returncode:
        raise HeadraceError(f"uv {' '.join(arguments)} failed: {done.stderr.strip()}")


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
