"""Executors in processes of their own, on a Spark cluster on this machine, give what one process gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headrace.infra import paths
from headrace.infra.launch import batch
from headrace.infra.settings import load
from tests.jobs.batch.lakes import T0_MS

pytest.importorskip("pyspark")
pytestmark = [pytest.mark.spark, pytest.mark.soak]  # a minute, most of it executors that start
DATE = "2026-01-31"
CLUSTER = "local-cluster[2,1,1024]"


def run(home: Path, job: str, *arguments: str, master: str = "local[2]") -> None:
    spark = load().spark.model_copy(update={"master": master, "driver_memory": "1g"})
    small = {"HEADRACE_HOME": str(home), "HEADRACE_NIGHT__PROTOCOL": "leave_one_out"}
    small |= {"HEADRACE_NIGHT__ALS__FACTORS": "8", "HEADRACE_NIGHT__ALS__ITERATIONS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", f"headrace.jobs.batch.{batch.step(job).file}", *batch.step(job).arguments, *arguments],
        env=os.environ | batch.environment(spark) | small,
        cwd=paths.PACKAGE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_als_is_the_same_bits_on_two_executors(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    events = [(f"u{u}", f"i{i}", T0_MS + n * 100) for n, (u, i) in enumerate(rng.integers(0, 60, (2_000, 2)))]
    file = tmp_path / "clicks.csv"
    file.write_text("user_id,item_id,ts_ms\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
    run(tmp_path, "import_file", str(file), "--default", "action=view", "--time", "ms")
    factors = tmp_path / "nights" / DATE / "als" / "item_factors.npy"
    run(tmp_path, "als", "--date", DATE)
    alone = factors.read_bytes()
    run(tmp_path, "als", "--date", DATE, "--again", master=CLUSTER)
    assert factors.read_bytes() == alone
