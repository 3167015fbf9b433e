"""What an operator does to the running job: stop and resume it changed, restore Redis, send dead letters again."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from infra import places
from schemas.topics import CLICKS
from tests import topic
from tests.dirty import ACTIONS, planted, soiled
from tests.oracle import Oracle
from tests.stack.compare import differences, oracle_of
from tests.stack.running import HEADRACE, JOB, Stack
from tests.streams import DAY_MS, MINUTE_MS, Stream, combined, sweepers

pytestmark = pytest.mark.stack
EVENTS = 20_000
COPIED = ("jobs", "udfs", "schemas", "infra", "edge", "setup.py", "pyproject.toml")


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


def test_a_savepoint_resumes_at_another_parallelism_and_backend(stack: Stack, stream: Stream) -> None:
    stack.submit("--parallelism", "1", "--state-backend", "hashmap")
    stack.send(soiled(stream[: EVENTS // 2]))
    savepoint = stack.run("stop", JOB, "--savepoint").split()[-1]
    stack.submit("--parallelism", "2", "--state-backend", "rocksdb", "--from-savepoint", savepoint)
    send_the_rest(stack, stream)
    settle_and_compare(stack)


def test_a_savepoint_resumes_with_a_changed_job(stack: Stack, stream: Stream, tmp_path: Path) -> None:
    """One more statement in the job, and another source text of its functions."""
    stack.submit()
    stack.send(soiled(stream[: EVENTS // 2]))
    savepoint = stack.run("stop", JOB, "--savepoint").split()[-1]
    submit_from(changed_checkout(tmp_path), savepoint)
    send_the_rest(stack, stream)
    settle_and_compare(stack)


def changed_checkout(folder: Path) -> Path:
    for name in COPIED:
        source = places.CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    job = folder / "jobs" / "streaming" / f"{JOB}.py"
    before = job.read_text()
    after = before.replace(
        "    if options.explain:\n",
        '    statements.add_insert_sql(f"INSERT INTO unread {STATE}")\n    if options.explain:\n',
    ).replace("the broker's clock plus", "the clock of the broker plus")
    assert after.count("INSERT INTO unread") == before.count("INSERT INTO unread") + 1
    job.write_text(after)
    return folder


def submit_from(checkout: Path, savepoint: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout), "HEADRACE_CACHE": str(places.cache())}
    command = [str(HEADRACE), "submit", JOB, "--from-savepoint", savepoint]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_restore_gives_every_key_back_after_a_flush(stack: Stack, stream: Stream) -> None:
    stack.submit()
    stack.send(soiled(stream[: EVENTS // 2]))
    stack.settle()
    redis = stack.settings.redis.client()
    keys = redis.dbsize()
    redis.flushall()
    stack.run("restore", timeout_s=300)
    assert redis.dbsize() == keys
    assert not [line for line in differences(stack.settings, oracle_of(stack.settings)) if line.startswith("Redis")]
    send_the_rest(stack, stream)  # the job has gone on
    settle_and_compare(stack)


def test_dead_letters_are_counted_listed_and_sent_again_once(stack: Stack) -> None:
    now_ms = int(time.time() * 1000)
    mix = planted(now_ms - 120 * MINUTE_MS)[:4_000]
    stack.submit()
    stack.send([each.record for each in mix])
    stack.settle()
    dead = Counter(each.path.removeprefix("dead ") for each in mix if each.path.startswith("dead "))
    assert json.loads(stack.run("deadletters", "--count", "--json")) == dead
    listed = stack.run("deadletters", "--reason", "missing", "--json", "-n", "1000").splitlines()
    assert len(listed) == dead["missing"]
    assert {json.loads(line)["reason"] for line in listed} == {"missing"}
    mend = """sed 's/^{/{"event_id": "mended", "item_id": "mended", /'"""
    assert f"sent {dead['missing']}" in stack.run("deadletters", "resend", "--reason", "missing", "--edit", mend)
    assert "sent 0" in stack.run("deadletters", "resend", "--reason", "missing", "--edit", mend)
    sent = [record.value for record in topic.read(stack.settings.kafka, CLICKS)]
    assert sum(b"mended" in (value or b"") for value in sent) == dead["missing"]
    stack.send(sweepers(now_ms + 2 * MINUTE_MS, stack.settings.kafka.partitions))
    oracle = settle_and_compare(stack)
    assert oracle.counts["dead missing"] > dead["missing"]
    assert oracle.counts["applied"] > sum(each.path == "applied" for each in mix)
