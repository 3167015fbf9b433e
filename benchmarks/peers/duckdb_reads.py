"""Reads a file by duckdb: casts the columns and counts the actions; prints JSON."""

import json
import sys
import time

import duckdb


def main(path: str) -> None:
    began_s = time.perf_counter()
    read = {"csv": "read_csv('{}', all_varchar = true)", "jsonl": "read_json('{}')", "parquet": "read_parquet('{}')"}
    source = read[path.rpartition(".")[2]].format(path)
    asked = "action, count(user_id), count(item_id), max(ts_ms::BIGINT), sum(price::DOUBLE)"
    found = duckdb.sql(f"SELECT {asked} FROM {source} GROUP BY action").fetchall()
    print(json.dumps({"seconds": time.perf_counter() - began_s, "rows": sum(row[1] for row in found)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
