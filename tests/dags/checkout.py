"""A copy of the checkout whose night is made of small jobs that can be told to fail, and what Airflow made of them.

The DAGs, the launcher and Airflow are the real ones; each stand-in leaves a result as a real step does (jobs/batch/
night.py), notes that it was begun, and does what a file named by the step asks: to refuse, fail, die or hang, once.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from headrace.infra import paths
from tests import checkouts

MODELS = ("als", "two_tower")
STEPS = ("land", "check", *MODELS, "evaluate", "gate", "register", "index", "precompute", "verify", "publish")
STAND_IN = """
import os, signal, sys, time
from pathlib import Path
from headrace.infra import paths
from headrace.jobs.batch import night

def main(options):
    tonight, step = night.of(options), getattr(options, "family", Path(__file__).stem)
    home = paths.home()
    with (home / "begun").open("a") as begun:
        begun.write(f"{step} {tonight.date}\\n")
    if tonight.is_done(step):
        return
    order = home / f"order-{step}"
    asked = order.read_text() if order.exists() else ""
    with tonight.writing(step) as folder:
        (folder / "part").write_text("half")
        if asked.endswith("once"):
            order.unlink()
        if asked.startswith("hang"):
            (home / "hanging").write_text(str(os.getpid()))
            time.sleep(600)
        if asked.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.startswith("fail"):
            sys.exit(1)
        if asked.startswith("refuse"):
            print("ndcg must be >= 0.1, got 0.05")
            sys.exit(3)
        (folder / "part").write_text("whole")
        (folder / "published.json").write_text('{"version": "als-1"}')

if __name__ == "__main__":
    parser = night.arguments(__doc__)
    if Path(__file__).stem == "train":
        parser.add_argument("family")
    main(parser.parse_args())
"""


@dataclass(frozen=True)
class Checkout:
    folder: Path
    home: Path

    @classmethod
    def make(cls, root: Path) -> "Checkout":
        made = cls(root / "checkout", root / "home")
        checkouts.copy(made.folder)
        for name in (*(step for step in STEPS if step not in MODELS), "train"):
            (made.folder / "jobs" / "batch" / f"{name}.py").write_text(STAND_IN)
        batch = root / "cache" / "env" / "batch" / "bin"
        batch.mkdir(parents=True)
        (batch.parent / ".ready").touch()
        (batch / "python").symlink_to(paths.python("airflow"))  # the stand-ins need nothing of the batch environment
        (root / "cache" / "env" / "airflow").symlink_to(paths.python("airflow").parents[1])
        made.home.mkdir()
        return made

    def environment(self, **settings: object) -> dict[str, str]:
        cache = self.folder.parent / "cache"
        ours = {"PYTHONPATH": self.folder, "HEADRACE_HOME": self.home, "HEADRACE_CACHE": cache}
        settings = {"NIGHT__MODELS": json.dumps(MODELS)} | settings
        settings = {f"HEADRACE_{name}": value for name, value in settings.items()} | ours
        return os.environ | {name: str(value) for name, value in settings.items()}

    def retrain(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        (self.home / "begun").unlink(missing_ok=True)
        return self.headrace("retrain", *arguments, **{"AIRFLOW__RETRY_DELAY_S": 1} | settings)

    def headrace(self, *arguments: str, **wished: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**wished), capture_output=True, text=True, timeout=300
        )

    def order(self, step: str, what: str) -> None:
        (self.home / f"order-{step}").write_text(what)

    def begun(self) -> list[str]:
        """Returns the jobs that the last night began."""
        return [line.split()[0] for line in (self.home / "begun").read_text().splitlines()]

    def results(self, night: str) -> dict[str, tuple[str, int]]:
        """Returns what is in each file of the night's results, and when it was written."""
        root = self.home / "nights" / night
        files = [path for path in root.glob("[!.]*/*") if path.is_file()]
        return {str(path.relative_to(root)): (path.read_text(), path.stat().st_mtime_ns) for path in files}


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Returns (step, state) as `headrace retrain` printed them; a step that was tried again has a line per try."""
    found = {}
    for line in done.stdout.splitlines():
        step, *words = line.split()
        if step in (*STEPS, "collect", "announce"):
            found[step] = words[2] if words[1:2] == ["s"] else words[0]  # its seconds stand before, if it began
    return found
