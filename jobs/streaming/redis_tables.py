"""The tables of streaming jobs in Redis, as SQL (docs/flink-redis.md)."""

from headrace.infra.settings import Redis
from headrace.infra.settings_files import ENV_PREFIX
from headrace.jobs.streaming.flink_tables import Run

STRINGS = "`key` STRING, `value` BYTES, expire_at_ms BIGINT, as_of_ms BIGINT"  # the columns of a table of strings
NAMES = ("key", "value", "expire_at_ms", "as_of_ms")
PASSWORD_VARIABLE = f"{ENV_PREFIX}REDIS__PASSWORD"


def made(function: str, view: str) -> str:
    """Returns the SQL of the rows, of STRINGS, that a function makes of a view's. It makes no key of some."""
    columns = ", ".join(f"l.`{name}`" for name in NAMES)
    return f"SELECT {columns} FROM (SELECT {function} AS l FROM {view}) WHERE l.`key` IS NOT NULL"


def sink(table: str, columns: str, begins: str, redis: Redis, run: Run, **options: str | int) -> str:
    """Returns the DDL of a table whose rows go to Redis (docs/flink-redis.md).

    begins: of each key; run: owns the keys, so that a replaced attempt of it cannot write; a run that restores only
    writes keys that are not there; options: of the connector, with `_` for `-`.
    """
    of_connection: dict[str, str | int] = {"host": redis.host, "port": redis.port}
    if redis.mode != "standalone":
        of_connection = {"mode": redis.mode, "nodes": redis.nodes, "master": redis.master}
    of_connection |= {
        "db": redis.db,
        "username": redis.username,
        "timeout_ms": int(1000 * redis.timeout_s),
        "tls": str(redis.tls).lower(),
        "ca_file": redis.ca_file,
    }
    if redis.password_file:
        of_connection["password_file"] = redis.password_file
    elif redis.has_password():
        of_connection["password_variable"] = PASSWORD_VARIABLE
    prefix = redis.key_prefix
    every = of_connection | {"key_prefix": prefix + begins, "owner": f"{prefix}{run.name}:{table}"} | options
    if run.restores and options.get("command") != "ZADD":  # whose order plays no part
        every["if_absent"] = "true"
    given = {name.replace("_", "-"): str(value).replace("'", "''") for name, value in every.items() if value != ""}
    pairs = "".join(f", '{name}' = '{value}'" for name, value in given.items())
    return f"CREATE TEMPORARY TABLE `{table}` ({columns}) WITH ('connector' = 'redis'{pairs})"
