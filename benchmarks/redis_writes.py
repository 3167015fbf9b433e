"""Hashes per second by the projection's writer, against redis-benchmark sending the same commands of the same size.

redis-benchmark sends one kind of command at a time, so its seconds for HSET and for PEXPIREAT are added.
"""

import random
import re
import subprocess
import time
from statistics import median
from typing import Any, NamedTuple

import msgspec

from benchmarks import stack
from benchmarks.harness import Result, show_round, table
from headrace.infra.clients.redis_writer import RedisWriter
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys
from headrace.udfs import session
from headrace.udfs.resp import HashWriter

HASHES = 200_000
BATCH = 10_000  # of one Arrow batch
PIPELINE = 1000  # hashes on their way, in both
START_MS = 1_700_000_000_000
WEEK_MS = 604_800_000
RECENT = 4  # clicks of a user
COMMANDS_PER_S = re.compile(r"([\d.]+) requests per second")


class Batch(NamedTuple):
    keys: list[str]
    columns: list[list[Any]]
    expire_at_ms: list[int]


def main(rounds: int) -> Result:
    settings = stack.up()
    batches = [_batch(first) for first in range(0, HASHES, BATCH)]
    rates: dict[str, list[int]] = {"ours": [], "redis-benchmark": []}
    for number in range(1, rounds + 1):
        stack.empty_redis(settings)
        rates["ours"].append(round(_written_per_s(settings, batches)))
        rates["redis-benchmark"].append(round(_benchmark_per_s(settings, batches[0])))
        show_round(number, rounds, rates, "hashes/s")
    figures = {name: {"hashes_per_s": round(median(each)), "each_round": each} for name, each in rates.items()}
    rows = [(name, *each.values()) for name, each in figures.items()]
    table("Redis writes", ("writer", "hashes/s", "each round"), rows)
    ratio = median(mine / theirs for mine, theirs in zip(*rates.values(), strict=True))
    conditions = {"fields": len(session.FIELDS), "pipeline": PIPELINE, "hashes": HASHES, "commands": "HSET, PEXPIREAT"}
    peers = {"redis-benchmark": figures["redis-benchmark"]}
    against = "redis-benchmark, same commands and size"
    return Result("redis_writes", figures["ours"], peers, round(ratio, 3), against, "hashes/s", conditions)


def _batch(first: int) -> Batch:
    users = range(first, first + BATCH)
    expire_at_ms = round(time.time() * 1000) + redis_keys.SESSION_TTL_MS
    columns = [[_value(field, random.Random(f"{field}{user}")) for user in users] for field in session.FIELDS]
    return Batch([redis_keys.session(f"session-{user}") for user in users], columns, [expire_at_ms] * BATCH)


def _value(field: str, rng: random.Random) -> Any:
    """Something as long as what the field holds for a user of a few clicks."""
    match field.split("_"):
        case ["session", "id"]:
            return ""
        case ["recent", "items"]:
            return _json([str(rng.randrange(50_000)) for _ in range(RECENT)])
        case ["recent", "actions"]:
            return _json(["click"] * RECENT)
        case ["recent", "ts", "ms"]:
            return _json([START_MS + rng.randrange(WEEK_MS) for _ in range(RECENT)])
        case [*_, "ms"]:
            return START_MS + rng.randrange(WEEK_MS)
        case ["rate", _] | ["spend"]:
            return rng.choice((0.0, 0.25, 0.5, 1.0))
        case ["duration", _] | ["mean", *_]:
            return rng.randrange(10**7) / 3.6e6
    return rng.randrange(RECENT)


def _json(values: list[Any]) -> str:
    return msgspec.json.encode(values).decode()


def _written_per_s(settings: Settings, batches: list[Batch]) -> float:
    writer, hashes = RedisWriter(settings.redis), HashWriter(session.FIELDS)
    begin_s = time.perf_counter()
    for batch in batches:
        writer.write(hashes.commands(*batch), HashWriter.REPLIES)
    return HASHES / (time.perf_counter() - begin_s)


def _benchmark_per_s(settings: Settings, batch: Batch) -> float:
    named = zip(session.FIELDS, batch.columns, strict=True)
    fields = [str(part) for name, column in named for part in (name, column[0])]
    key = redis_keys.session("session-__rand_int__")
    hset_s = _command_s(settings, "HSET", key, *fields)
    return 1 / (hset_s + _command_s(settings, "PEXPIREAT", key, str(batch.expire_at_ms[0])))


def _command_s(settings: Settings, *command: str) -> float:
    """Seconds per command."""
    connection = ["-h", settings.redis.host, "-p", str(settings.redis.port), "-c", "1"]
    size = ["-n", str(HASHES), "-r", str(HASHES), "-P", str(PIPELINE), "-q"]
    done = subprocess.run(["redis-benchmark", *connection, *size, *command], capture_output=True, text=True, check=True)
    return 1 / float(COMMANDS_PER_S.findall(done.stdout)[-1])
