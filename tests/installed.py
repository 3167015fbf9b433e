"""Headrace as a stranger has it: the wheel in an environment and a folder of its own, without the checkout."""

import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from headrace.infra import environments, paths
from tests import checkouts

HIDE = 'mount -t tmpfs none "$0" && exec "$@"'  # in a mount namespace of its own: nobody else misses the checkout


@dataclass(frozen=True)
class Installation:
    folder: Path  # the shop's; empty at first
    env: Path

    def run(self, *command: str, timeout_s: float = 300, **more: str) -> "subprocess.CompletedProcess[str]":
        """Runs `headrace up` and the like, or `python client.py`, in the folder."""
        program = str(self.env / "bin" / command[0])
        known = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PYTHON"))}
        return subprocess.run(
            [*self._apart(), program, *command[1:]],
            cwd=self.folder,
            env=known | {"PATH": f"{self.env / 'bin'}{os.pathsep}{os.environ['PATH']}"} | more,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def _apart(self) -> list[str]:
        """Hides the checkout. Only root may do so; for others a test checks that nothing is imported from it."""
        if os.geteuid() or not shutil.which("unshare"):
            return []
        return ["unshare", "--mount", "sh", "-c", HIDE, str(paths.PACKAGE)]


def wheel(folder: Path) -> Path:
    """Makes the wheel from the sdist of a copy of the checkout."""
    checkout = checkouts.copy(folder / "checkout")
    environments.uv("build", "--sdist", "--out-dir", str(folder), str(checkout))
    (sdist,) = folder.glob("*.tar.gz")
    environments.uv("build", "--wheel", "--out-dir", str(folder), str(sdist))
    shutil.rmtree(checkout)
    (built,) = folder.glob("*.whl")
    return built


def empty(root: Path) -> Installation:
    """Makes an environment with pip, and nothing of Headrace yet."""
    installation = Installation(root / "shop", root / "env")
    installation.folder.mkdir(parents=True)
    environments.uv("venv", "--seed", "--python", "3.11", str(installation.env))
    return installation


def install(built: Path, root: Path) -> Installation:
    """Installs the wheel with its base dependencies alone."""
    installation = empty(root)
    environments.uv("pip", "install", "--python", str(installation.env / "bin" / "python"), str(built))
    return installation


def top_level(built: Path) -> set[str]:
    """Returns what the wheel puts into site-packages, without its metadata."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(built).namelist()}
    return {name for name in names if not name.endswith(".dist-info")}
