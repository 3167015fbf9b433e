"""Reads a file by our reader, by an import, or by pyarrow.csv alone, in the batch environment; prints JSON."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from headrace.infra.files.events import events
from headrace.infra.files.mapping import Mapping


def main(system: str, path: str) -> None:
    began_s = time.perf_counter()
    rows = {"reader": reader, "import": imported, "pyarrow": pyarrow}[system](path)
    print(json.dumps({"seconds": time.perf_counter() - began_s, "rows": rows}))


def reader(path: str) -> int:
    with events(Path(path), Mapping(time="ms"), "f") as found:
        return sum(isinstance(record, bytes) for record in found.records)


def imported(path: str) -> int:
    from headrace.jobs.batch import import_file

    with tempfile.TemporaryDirectory(dir=Path(path).parent) as home:
        os.environ["HEADRACE_HOME"] = home
        import_file.main(import_file.arguments().parse_args([path, "--time", "ms"]))
    return 0


def pyarrow(path: str) -> int:
    import pyarrow as pa
    import pyarrow.csv as pc

    names = ("user_id", "item_id", "action", "ts_ms", "price")
    text = pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return sum(batch.num_rows for batch in pc.open_csv(path, convert_options=text))


if __name__ == "__main__":
    main(*sys.argv[1:])
