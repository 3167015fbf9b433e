"""Is the stream well? One look at each job that should run, at the dead letters, and at Redis.

A look keeps no counts of its own: it counts the last watch.window_s by the times that Flink and Kafka hold. It keeps
only what revives a job (infra/operate/revive.py). Lag is counted from the offsets of a job's last checkpoint, so it is
never below what came since.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError, describe
from headrace.infra.operate import generations, restart_loop
from headrace.infra.settings import Kafka, Settings
from headrace.schemas import live_session, redis_keys
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, IMPRESSIONS

RUNS = "runs"
SAMPLE = 20  # newest clicks of a partition that `_fresh` looks up in Redis
POLL_MS = 2_000
AGAIN_S = 3


class WatchFinding(NamedTuple):
    about: str  # a job, or a part such as redis
    check: str
    ok: bool
    said: str


def findings(settings: Settings) -> list[WatchFinding]:
    every = [finding for name in settings.watch.jobs for finding in _job(settings, name)]
    every.append(_asked("dead letters", "share", lambda: _dead_letters(settings)))
    if "session_features" in settings.watch.jobs:
        every.append(_asked("redis", "fresh", lambda: _fresh(settings)))
    return every


def _asked(about: str, check: str, look: Callable[[], tuple[bool, str]]) -> WatchFinding:
    """Returns the finding of a look. A part that does not answer is asked once more, since it may be starting."""
    for pause_s in (AGAIN_S, 0):
        try:
            return WatchFinding(about, check, *look())
        except Exception as error:
            trouble = describe(error)
            time.sleep(pause_s)
    return WatchFinding(about, check, False, trouble)


def _job(settings: Settings, name: str) -> list[WatchFinding]:
    try:
        job = flink.alive(settings.flink, name)
    except HeadraceError as error:
        return [WatchFinding(name, RUNS, False, str(error))]
    if job is None:
        return [WatchFinding(name, RUNS, False, _gone(settings, name))]
    return [
        _asked(name, RUNS, lambda: _runs(settings, job)),
        _asked(name, "checkpoint", lambda: _checkpoint(settings, job)),
        _asked(name, "restarts", lambda: _restarts(settings, job)),
        _asked(name, "commits", lambda: _transactions(settings, job)),
        _asked(name, "lag", lambda: _lag(settings, generations.group(settings, name))),
    ]


def _gone(settings: Settings, name: str) -> str:
    last = last_of(settings, name)
    if last is None:
        return "Flink does not know it"
    cause = flink.last_failure(settings.flink, last) if last.state == "FAILED" else None
    return last.state + (f": {cause}" if cause else "")


def last_of(settings: Settings, name: str) -> flink.Job | None:
    """Returns the newest job of the name, in any state."""
    return next((job for job in flink.jobs(settings.flink) if job.name == name), None)


def _runs(settings: Settings, job: flink.Job) -> tuple[bool, str]:
    tasks = [vertex["status"] for vertex in flink.get(settings.flink, f"/jobs/{job.id}")["vertices"]]
    waiting = [status for status in tasks if status not in ("RUNNING", "FINISHED")]
    return job.state == "RUNNING" and not waiting, f"{job.state}, {len(tasks) - len(waiting)} of {len(tasks)} tasks"


def _checkpoint(settings: Settings, job: flink.Job) -> tuple[bool, str]:
    age_s = flink.checkpoint_age_s(settings.flink, job)
    if age_s is None:
        started_ms = flink.get(settings.flink, f"/jobs/{job.id}")["start-time"]
        up_s = time.time() - started_ms / 1000
        return up_s <= settings.watch.checkpoint_age_max_s, f"none in {up_s:.0f} s"
    return age_s <= settings.watch.checkpoint_age_max_s, f"{age_s:.0f} s old"


def _restarts(settings: Settings, job: flink.Job) -> tuple[bool, str]:
    failures = flink.failures(settings.flink, job)
    since_ms = (time.time() - settings.watch.window_s) * 1000
    recent = sum(each.at_ms >= since_ms for each in failures)
    why = f", the last: {failures[0].cause}" if recent else ""
    if loop := restart_loop.described(settings, job, failures):
        return False, loop
    return recent <= settings.watch.restarts_max, f"{recent} in {settings.watch.window_s} s{why}"


def _transactions(settings: Settings, job: flink.Job) -> tuple[bool, str]:
    """Returns whether Kafka took every transaction since the job was last restored."""
    failed = flink.uncommitted(settings.flink, job)
    why = ": Kafka had aborted them, since the job was away for longer than kafka.transaction_timeout_s"
    return failed == 0, f"{failed} failed{why if failed else ''}"


def _lag(settings: Settings, group: str) -> tuple[bool, str]:
    """Returns whether few enough records come after the offsets that the job's last checkpoint committed."""
    committed = kafka_topics.committed(settings.kafka, group)
    if not committed:
        return True, "no offset is committed yet"
    consumer = _consumer(settings.kafka)
    try:
        ends = consumer.end_offsets(list(committed))
    finally:
        consumer.close()
    lag = sum(max(ends[part] - offset, 0) for part, offset in committed.items())
    return lag <= settings.watch.lag_max, f"{lag:,} records"


def _dead_letters(settings: Settings) -> tuple[bool, str]:
    since_ms = int((time.time() - settings.watch.window_s) * 1000)
    consumer = _consumer(settings.kafka)
    try:
        came = {
            name: _since(consumer, settings.kafka.name(name), since_ms) for name in (CLICKS, IMPRESSIONS, DEAD_LETTERS)
        }
    finally:
        consumer.close()
    read = came[CLICKS] + came[IMPRESSIONS]
    share = came[DEAD_LETTERS] / max(read, came[DEAD_LETTERS], 1)
    count = f"{came[DEAD_LETTERS]:,} of {read:,} records in {settings.watch.window_s} s"
    return share <= settings.watch.dead_share_max, count


def _fresh(settings: Settings) -> tuple[bool, str]:
    """Returns whether at least one of the newest clicks older than fresh_max_s has reached its shopper's session."""
    until_ms = int((time.time() - settings.watch.fresh_max_s) * 1000)
    clicks = [
        each for each in _newest(settings.kafka, until_ms) if each.timestamp > until_ms - redis_keys.SESSION_TTL_MS
    ]
    client: Any = settings.redis.client()
    client.ping()
    if not clicks:
        return True, "no click to look for"
    values = [client.get(redis_keys.session((each.key or b"").decode(errors="replace"))) for each in clicks]
    shown = [live_session.decode(value).get("as_of_ms", 0) for value in values]
    there = sum(as_of_ms >= each.timestamp for as_of_ms, each in zip(shown, clicks, strict=True))
    limit = f"older than {settings.watch.fresh_max_s} s"
    return there > 0, f"{there} of the {len(clicks)} newest clicks {limit} are there"


def _newest(kafka: Kafka, until_ms: int) -> list[Any]:
    """Returns the last clicks of each partition before a time."""
    consumer = _consumer(kafka)
    try:
        parts, first, last = _span(consumer, kafka.name(CLICKS), until_ms)
        consumer.assign(parts)
        for part in parts:
            consumer.seek(part, max(first[part], last[part] - SAMPLE))
        clicks: list[Any] = []
        while any(consumer.position(part) < last[part] for part in parts):
            clicks += [each for fetched in consumer.poll(POLL_MS).values() for each in fetched]
        return [each for each in clicks if each.timestamp < until_ms]
    finally:
        consumer.close()


def _since(consumer: Any, topic: str, since_ms: int) -> int:
    parts, _, before = _span(consumer, topic, since_ms)
    ends = consumer.end_offsets(parts)
    return sum(ends[part] - before[part] for part in parts)


def _span(consumer: Any, topic: str, until_ms: int) -> tuple[list[Any], dict[Any, int], dict[Any, int]]:
    """Returns a topic's partitions, their first offsets, and the first offset of each at or after a time."""
    from kafka import TopicPartition

    parts = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
    ends = consumer.end_offsets(parts)
    at = consumer.offsets_for_times(dict.fromkeys(parts, until_ms))
    return (
        parts,
        consumer.beginning_offsets(parts),
        {part: at[part].offset if at[part] else ends[part] for part in parts},
    )


def _consumer(kafka: Kafka) -> Any:
    from kafka import KafkaConsumer

    with kafka_topics.admin(kafka):  # says what is wrong when Kafka is away
        return KafkaConsumer(**kafka.client(), isolation_level="read_committed", enable_auto_commit=False)
