"""One Spark session for all tests of the night."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] --driver-memory 1g pyspark-shell")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from jobs.batch.spark import session

    quick = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.ui.showConsoleProgress": "false"}
    found = session("tests", **quick)
    yield found
    found.stop()
