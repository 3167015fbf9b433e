"""Whatever ends a job in Spark is reported in one line, with the cause."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.infra.errors import Refusal
from headrace.jobs.batch import failures, night

pytestmark = pytest.mark.spark


def fail(batches: Iterator[Any]) -> Iterator[Any]:
    for _ in batches:
        message = "item_id must be a string,\ngot 7"
        raise ValueError(message)
    yield from ()


def cause(action: Any) -> str:
    try:
        action()
    except Exception as error:
        return failures.cause(error)
    return "nothing failed"


def test_the_cause_is_told_in_a_line(spark: Any, tmp_path: Path) -> None:
    ids = spark.range(3)
    told = [
        cause(lambda: ids.mapInArrow(fail, "id BIGINT").collect()),
        cause(lambda: ids.select("user_id").collect()),
        cause(lambda: spark.read.parquet(str(tmp_path / "none"))),
        cause(lambda: ids.write.parquet("/proc/headrace")),
        cause(lambda: (tmp_path / "x").read_text()),
    ]
    assert all("\n" not in line and "Traceback" not in line for line in told)
    assert told[0].startswith("Spark: ValueError: item_id must be a string,")
    assert "`user_id` cannot be resolved" in told[1]
    assert "PATH_NOT_FOUND" in told[2]
    assert "/proc/headrace" in told[3]
    assert told[4] == f"{tmp_path / 'x'}: No such file or directory"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Refusal("volume: must be >= 1, got 0"), 3, "headrace: volume: must be >= 1, got 0\n"),
        (ValueError("days must be > 0, got 0"), 1, "headrace: days must be > 0, got 0\n"),
        (OSError(28, "No space left on device", "/lake/x"), 1, "headrace: /lake/x: No space left on device\n"),
    ],
)
def test_a_job_ends_with_a_line_and_a_status(
    error: Exception, status: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(_: Any) -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["job"])
    with pytest.raises(SystemExit) as ended:
        night.run(main, night.arguments(""))
    assert (ended.value.code, capsys.readouterr().err) == (status, said)
    monkeypatch.setenv("HEADRACE_DEBUG", "1")
    if status == 1:
        with pytest.raises(type(error)):
            night.run(main, night.arguments(""))
