"""What the stack needs from the machine: a JDK, Maven, redis-server. For root on Debian, it installs missing ones."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from headrace.infra.errors import HeadraceError

JDK_OLDEST = 17


@dataclass(frozen=True)
class Tool:
    name: str
    package: str  # Debian's

    def found(self) -> bool:
        return shutil.which(self.name) is not None


TOOLS = (Tool("javac", "openjdk-17-jdk-headless"), Tool("mvn", "maven"), Tool("redis-server", "redis-server"))


def ensure() -> None:
    missing = [tool for tool in TOOLS if not tool.found()]
    if missing and _may_install():
        _install([tool.package for tool in missing])
        missing = [tool for tool in TOOLS if not tool.found()]
    if missing:
        raise HeadraceError(f"{', '.join(tool.name for tool in missing)} missing: {instruction(missing)}")
    version = jdk_version()
    if version is None or version < JDK_OLDEST:
        raise HeadraceError(f"the JDK must be >= {JDK_OLDEST}, got {version}: install a newer one or set JAVA_HOME")


def instruction(missing: list[Tool]) -> str:
    packages = " ".join(tool.package for tool in missing)
    if shutil.which("apt-get"):
        return f"run `sudo apt-get install {packages}`"
    return f"install them (Debian calls them {packages})"


def jdk_version() -> int | None:
    home = os.environ.get("JAVA_HOME")
    javac = shutil.which("javac", path=f"{home}/bin") if home else shutil.which("javac")
    if not javac:
        return None
    done = subprocess.run([javac, "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    number = re.search(r"javac (\d+)", done.stdout)
    return int(number[1]) if number else None


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(packages: list[str]) -> None:
    # RUNLEVEL=1 keeps Debian from starting a redis-server of its own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *command], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise HeadraceError(f"apt-get {' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    try:
        ensure()
    except HeadraceError as error:
        sys.exit(f"headrace: {error}")
