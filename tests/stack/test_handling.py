"""What an operator does with a running job: stop it, resume it changed, restore Redis, send dead letters again."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.clients import flink
from headrace.infra.operate.restore import restoring
from tests import checkouts
from tests.oracles.sessions import Oracle
from tests.stack.compare import differences, oracle_of
from tests.stack.running import HEADRACE, JOB, Failed, Stack, wait
from tests.streams.clicks import DAY_MS, MINUTE_MS, Click, Record, Stream, combined, sweepers
from tests.streams.dirty import ACTIONS, plain, planted, soiled

pytestmark = pytest.mark.stack
EVENTS = 20_000


@pytest.fixture(scope="module")
def stream() -> Stream:
    return combined(list(ACTIONS))[:EVENTS]


def settle_and_compare(stack: Stack) -> Oracle:
    stack.settle()
    oracle = oracle_of(stack.settings)
    assert oracle.at_risk == 0
    different = differences(stack.settings, oracle)
    assert not different, "\n".join(different)
    return oracle


def send_the_rest(stack: Stack, stream: Stream) -> None:
    stack.send(soiled(stream[EVENTS // 2 :]))
    stack.send(sweepers(stream[-1][0] + DAY_MS, stack.settings.kafka.partitions))


@pytest.mark.soak
def test_a_savepoint_resumes_at_another_parallelism_and_backend(stack: Stack, stream: Stream) -> None:
    stack.submit("--parallelism", "1", "--state-backend", "hashmap")
    stack.send(soiled(stream[: EVENTS // 2]))
    savepoint = stack.run("stop", JOB, "--savepoint").split()[-1]
    stack.submit("--parallelism", "2", "--state-backend", "rocksdb", "--from-savepoint", savepoint)
    send_the_rest(stack, stream)
    settle_and_compare(stack)


def test_a_savepoint_resumes_with_a_changed_job(stack: Stack, stream: Stream, tmp_path: Path) -> None:
    """Another condition in its SQL, and another text of a refusal."""
    stack.submit()
    stack.send(soiled(stream[: EVENTS // 2]))
    savepoint = stack.run("stop", JOB, "--savepoint").split()[-1]
    submit_from(changed_checkout(tmp_path), savepoint)
    send_the_rest(stack, stream)
    settle_and_compare(stack)


def changed_checkout(folder: Path) -> Path:
    checkouts.copy(folder)
    streaming = folder / "jobs" / "streaming"
    change(streaming / f"{JOB}.py", "FROM states", "FROM states WHERE CHAR_LENGTH(user_id) > 0")
    change(streaming / "flink_tables.py", "the broker''s clock plus", "the clock of the broker plus")
    return folder


def change(file: Path, old: str, new: str) -> None:
    before = file.read_text()
    after = before.replace(old, new)
    assert sum(a != b for a, b in zip(before.splitlines(), after.splitlines(), strict=True)) == 1
    file.write_text(after)


def submit_from(checkout: Path, savepoint: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout), "HEADRACE_CACHE": str(paths.cache())}
    command = [str(HEADRACE), "submit", JOB, "--from-savepoint", savepoint]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_submit_goes_on_where_the_job_was(stack: Stack, stream: Stream) -> None:
    """After a stop it neither writes closed sessions twice nor forgets; to begin anew has to be said."""
    stack.submit()
    stack.send(soiled(stream[: EVENTS // 2]))
    stack.settle()
    stack.run("stop", JOB)
    assert re.search(r"runs as \w+, from file:\S+/chk-\d+, \d+ s old", stack.run("submit", JOB))
    send_the_rest(stack, stream)
    settle_and_compare(stack)
    stack.run("stop", JOB)
    with pytest.raises(Failed, match=r"If it begins anew, closed sessions .* second time.*: nobody can be asked here"):
        stack.run("submit", JOB, "--from-scratch")
    stack.forget_places()
    with pytest.raises(
        Failed, match=r"has run \(its group has read [\d,]+ records; .* in sessions\), but no checkpoint"
    ):
        stack.run("submit", JOB)
    assert "without state" in stack.run("submit", JOB, "--from-scratch", "--yes")


def test_restore_gives_every_key_back_after_a_flush(stack: Stack, stream: Stream) -> None:
    stack.submit()
    stack.send(soiled(stream[: EVENTS // 2]))
    stack.settle()
    redis = stack.settings.redis.client()
    keys = redis.dbsize()
    job = stack.job()
    redis.flushall()
    end_a_restore(stack)
    stack.run("restore", timeout_s=300)
    assert (stack.job(), stack.restarts()) == (job, 0)
    assert redis.dbsize() == keys
    assert not [line for line in differences(stack.settings, oracle_of(stack.settings)) if line.startswith("Redis")]
    send_the_rest(stack, stream)  # the job has gone on
    settle_and_compare(stack)


def end_a_restore(stack: Stack) -> None:
    """Begins a restore, and ends it as a closed terminal does: its own run is cancelled."""
    name = restoring(JOB)
    with subprocess.Popen([str(HEADRACE), "restore", JOB], stderr=subprocess.DEVNULL) as process:
        wait(lambda: flink.alive(stack.settings.flink, name) is not None, 120, lambda: "no restoring run")
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP
    assert flink.alive(stack.settings.flink, name) is None


def test_dead_letters_are_counted_listed_and_sent_again_once(stack: Stack) -> None:
    now_ms = int(time.time() * 1000)
    good = [each for each in planted(now_ms - 120 * MINUTE_MS) if each.path == "applied"][:60]
    clicks = [json.loads(each.record.value or b"") | {"session_id": None} for each in good]
    without_item = [Record(each.record.key, item_left_out(click)) for each, click in zip(good, clicks, strict=True)]
    stack.submit()
    stack.send([*without_item[:40], *(plain(click) for click in clicks[40:]), *(Record(b"u", b"{") for _ in range(10))])
    stack.settle()
    counted = json.loads(stack.run("deadletters", "--count", "--json"))["data"]
    assert counted == {"counts": {"missing": 40, "json": 10}}
    listed = json.loads(stack.run("deadletters", "--reason", "missing", "--json", "-n", "1000"))["data"]["letters"]
    assert sorted(each["value"].encode() for each in listed) == sorted(map(item_left_out, clicks[:40]))
    resend = ("deadletters", "resend", "--reason", "missing", "--edit", """sed 's/^{/{"item_id": "mended", /'""")
    assert "would send 40, drop 0" in stack.run(*resend, "--dry-run")
    assert "sent 40" in stack.run(*resend)
    assert "sent 0" in stack.run(*resend)
    stack.send(sweepers(now_ms + 2 * MINUTE_MS, stack.settings.kafka.partitions))
    oracle = settle_and_compare(stack)
    assert oracle.counts == {"applied": 64, "dead missing": 40, "dead json": 10}


def item_left_out(click: Click) -> bytes:
    return json.dumps({name: value for name, value in click.items() if name != "item_id"}).encode()
