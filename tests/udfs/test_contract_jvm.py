"""The contract of the streaming jobs, in Java, judges as the one in Python does, whatever the bytes."""

import json
import struct
import subprocess
import zlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from headrace.udfs.contract import Contract, Fault
from tests.udfs.contract_records import SCHEMAS, records

JAVA = Path(__file__).parents[2] / "udfs" / "jvm" / "src"
CONTRACTS = [Contract(schema) for schema in SCHEMAS]


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Flink's jars and the format, compiled from its sources."""
    spec = find_spec("pyflink")
    assert spec is not None
    assert spec.origin is not None
    jars = f"{Path(spec.origin).parent / 'lib'}/*"
    classes = tmp_path_factory.mktemp("classes")
    sources = [
        str(file)
        for part in ("main", "test")
        for file in (JAVA / part / "java/headrace/contract").glob("Contract*.java")
    ]
    paths = ["-classpath", jars, "-sourcepath", str(JAVA / "main" / "java")]
    sources = [file for file in sources if not file.endswith("Test.java")]
    subprocess.run(["javac", "-nowarn", "-proc:none", *paths, "-d", str(classes), *sources], check=True)
    return f"{classes}:{jars}"


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_both_contracts_judge_alike(count: int, classpath: str, tmp_path: Path) -> None:
    seed = count
    ours, seen = python_verdicts(count, seed, tmp_path / "records")
    theirs = java_verdicts(classpath, tmp_path)
    assert len(theirs) == len(ours)
    differing = {i: (a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if not agree(a, b)}
    assert explained(differing, count, seed) == []
    assert set(seen) == {"good", "size", "json", "missing", "type", "value"}
    assert min(seen[each] for each in ("good", "json", "type", "value")) > count / 50, seen


def python_verdicts(count: int, seed: int, file: Path) -> tuple[list[bytes], Counter[str]]:
    """Writes the records to a file for Java, and judges them."""
    verdicts, seen = [], Counter[str]()
    with file.open("wb") as out:
        for i, value in records(count, seed):
            out.write(struct.pack(">Bi", i, -1 if value is None else len(value)) + (value or b""))
            columns, (fault,) = CONTRACTS[i].columns([value])
            seen[fault.reason if fault else "good"] += 1
            verdicts.append(verdict(columns, fault))
    return verdicts, seen


def verdict(columns: list[tuple[Any, ...]], fault: Fault | None) -> bytes:
    if fault:
        return f"{fault.reason}\t{fault.detail}".encode()
    total = 0
    for place, (value,) in enumerate(columns):
        if value is not None:
            total = zlib.crc32(canonical(value), zlib.crc32(bytes([place]), total))
    return f"good\t{total}".encode()


def canonical(value: Any) -> bytes:
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, float):
        return f"{struct.unpack('>Q', struct.pack('>d', value))[0]:x}".encode()
    if isinstance(value, dict):
        return canonical_items([*value, *value.values()])
    if isinstance(value, list):
        reals = value and isinstance(value[0], float)
        return struct.pack(f"<{len(value)}d", *value) if reals else canonical_items(value)
    return str(value).encode()


def canonical_items(items: list[Any]) -> bytes:
    return "".join(f"{item}," for item in items).encode()


def java_verdicts(classpath: str, folder: Path) -> list[bytes]:
    schemas = []
    for schema in SCHEMAS:
        schemas.append(folder / f"{schema['name']}.avsc")
        schemas[-1].write_text(json.dumps(schema))
    command = ["java", "-Xmx1g", "-classpath", classpath, "headrace.contract.ContractVerdicts"]
    subprocess.run([*command, str(folder / "records"), str(folder / "verdicts"), *map(str, schemas)], check=True)
    return (folder / "verdicts").read_bytes().split(b"\n")[:-1]


def agree(ours: bytes, theirs: bytes) -> bool:
    """Reason and detail are equal. Only where and how JSON is broken may be in other words."""
    if ours.startswith(b"json\t") and not ours.startswith(b"json\t{"):
        return theirs.startswith(b"json\t") and (b"float64" in ours) == (b"float64" in theirs)
    return ours == theirs


def explained(differing: dict[int, tuple[bytes, bytes]], count: int, seed: int) -> list[str]:
    """The first few records with two verdicts."""
    if not differing:
        return []
    of = (
        f"{SCHEMAS[i]['name']} {value and value[:400]!r}: {[verdict[:300] for verdict in differing[n]]}"
        for n, (i, value) in enumerate(records(count, seed))
        if n in differing
    )
    return [f"{len(differing)} differ", *(text for text, _ in zip(of, range(8), strict=False))]
