"""SQL types of the schemas, in the dialect that Flink and Spark share.

flink   f"CREATE TABLE sessions ({ddl('session')}) WITH (...)"
spark   spark.read.schema(ddl("session"))
"""

from typing import Any

from headrace.schemas import load

_SQL = {"string": "STRING", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "enum": "STRING"}


def ddl(name: str) -> str:
    """The columns of a schema as SQL, such as `user_id` STRING NOT NULL, `ts_ms` BIGINT NOT NULL."""
    return ", ".join(f"`{f['name']}` {_sql(f['type'])}" for f in load(name)["fields"])


def _sql(avro_type: Any) -> str:
    if isinstance(avro_type, list):
        return _sql(avro_type[1]).removesuffix(" NOT NULL")
    return f"{_bare(avro_type)} NOT NULL"


def _bare(avro_type: Any) -> str:
    if isinstance(avro_type, str):
        return _SQL[avro_type]
    if avro_type["type"] == "array":
        return f"ARRAY<{_bare(avro_type['items'])}>"
    if avro_type["type"] == "map":
        return f"MAP<STRING, {_bare(avro_type['values'])}>"
    return _SQL[avro_type["type"]]
