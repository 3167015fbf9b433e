"""Records that two readers of one contract are compared on: good ones, and each of them damaged in every way we know.

They are JSON texts put together by hand, because no writer of JSON makes duplicate fields, lone surrogates or 1E+2.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from headrace.schemas import Schema, load
from headrace.udfs.contract import MAX_BYTES, MAX_DEPTH

OF_ALL_KINDS: Schema = {
    "type": "record",
    "name": "Kinds",
    "fields": [
        {"name": "a", "type": "string", "minLength": 2, "maxLength": 3},
        {"name": "b_ms", "type": ["null", "long"], "exclusiveMinimum": 5, "maximum": 99},
        {"name": "c", "type": "boolean"},
        {"name": "d", "type": ["null", {"type": "enum", "name": "D", "symbols": ["x", "é", "long one"]}]},
        {"name": "ë", "type": ["null", {"type": "map", "values": "long"}]},
        {"name": "f", "type": ["null", {"type": "array", "items": "string"}], "maxItems": 2},
        {"name": "g", "type": ["null", {"type": "array", "items": "boolean"}]},
        {"name": "h", "type": ["null", "double"], "exclusiveMinimum": -0.5, "maximum": 1e-5},
        {"name": "i", "type": ["null", "boolean"]},
        {"name": "j", "type": "long"},
        {"name": "k", "type": "double", "minimum": -1e22},
        {"name": "l", "type": ["null", {"type": "array", "items": "long"}], "maxItems": 3},
        {"name": "m", "type": ["null", {"type": "map", "values": "string"}]},
    ],
}
SCHEMAS: list[Schema] = [load("click"), load("impression"), OF_ALL_KINDS]
VALUES = Path(__file__).with_name("contract_values.txt").read_text().split("\n\n")[1:]  # parts, each with its name
WHOLE, REAL, STRINGS, BROKEN, OTHERS, ITEMS = (part.splitlines()[1:] for part in VALUES)
WHOLE += ["1" + "0" * 308, "1" + "0" * 309, "-1" + "0" * 400, "7" * 4999]
REAL += ["0." + "3" * 900, "8" * 700 + ".5e-690"]
BROKEN += ["", '"a\tb"', '"\x00"', "\ufeff1", "\u00a01", "\x0b1"]
ITEMS += ["[" + "9" * 4500 + "]"]
BYTES = [
    *(c.encode() for c in '"\\{}[],: 0-.e\u00e9\u20ac\U0001f600\n\x00\x1f\x7f'),
    b"null",
    b"\\u",
    b"\xff",
    b"\xc3",
    b"\xc0\x80",
]
BYTES += [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\xe2\x82", b"\xf5\x80\x80\x80"]
NAMES = ["other", "", "ts_ms ", "\\u0061", "q\\u0000", "éé"]
SPACES = ["", "", "", "", " ", "\n\t", "\r "]


def text_of(size: int, random: Random) -> str:
    """A string of JSON with so many code points, of 1 to 4 bytes, some of them escaped."""
    pool = random.choice(["a", "ab\u00e9", "\u20ac\U0001f600", "a\u20ac\U0001f600"])
    chars = "".join(random.choices(pool, k=size))
    return json.dumps(chars, ensure_ascii=random.random() < 0.2)


def borders(field: dict[str, Any], random: Random) -> list[str]:
    """The JSON texts at, below and above each limit of a field."""
    texts = []
    for key in ("minimum", "exclusiveMinimum", "maximum"):
        if key in field:
            limit = field[key]
            texts += [
                repr(limit),
                repr(float(limit)),
                repr(limit + 1),
                repr(limit - 1),
                repr(float(limit) * (1 + 2**-52)),
            ]
    for key in ("minLength", "maxLength"):
        texts += [text_of(size, random) for d in (-1, 0, 1) if key in field and (size := field[key] + d) >= 0]
    if "maxItems" in field:
        texts += [json.dumps([0.5] * (field["maxItems"] + d)) for d in (-1, 0, 1)]
        texts += [json.dumps([0.5] * field["maxItems"] + ["x"])]
    kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
    if isinstance(kind, dict) and "symbols" in kind:
        texts += [json.dumps(symbol, ensure_ascii=random.random() < 0.5) for symbol in kind["symbols"]]
    return texts


def good(field: dict[str, Any], random: Random) -> str:
    kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
    if kind == "string":
        return text_of(random.randint(field.get("minLength", 0), min(field.get("maxLength", 9), 24)), random)
    if kind in ("long", "double"):
        low, high = field.get("minimum", 6), field.get("maximum", 1000)
        if "exclusiveMinimum" in field and kind == "double":
            return repr(field["maximum"] * random.random() + 1e-9)
        return str(random.randint(int(max(low, -9)), int(high))) if high >= 1 else "0"
    if kind == "boolean":
        return random.choice(["true", "false"])
    if kind["type"] == "enum":
        return json.dumps(random.choice(kind["symbols"]), ensure_ascii=False)
    items = {"string": '"s"', "long": "7", "double": repr(random.gauss(0, 1)), "boolean": "true"}
    item = items[kind.get("items") or kind["values"]]
    count = random.randint(0, min(field.get("maxItems", 3), 20))
    if kind["type"] == "array":
        return f"[{','.join([item] * count)}]"
    return "{" + ",".join(f'"{i}": {item}' for i in range(count)) + "}"


def record(pairs: list[tuple[str, str]], random: Random) -> bytes:
    space = random.choice(SPACES)
    body = f",{space}".join(f'"{name}"{space}:{space}{value}' for name, value in pairs)
    return f"{space}{{{space}{body}{space}}}{space}".encode("utf-8", "surrogatepass")


def good_pairs(schema: Schema, random: Random) -> list[tuple[str, str]]:
    """The fields of a good record, in the schema's order or in any."""
    chosen = [f for f in schema["fields"] if not isinstance(f["type"], list) or random.random() < 0.5]
    pairs = [(f["name"], good(f, random)) for f in chosen]
    if random.random() < 0.3:
        random.shuffle(pairs)
    return pairs


def any_value(field: dict[str, Any], random: Random) -> str:
    pools = [WHOLE, REAL, STRINGS, OTHERS, ITEMS, borders(field, random), [good(field, random)]]
    return random.choice(random.choice([pool for pool in pools if pool]))


def changed(schema: Schema, random: Random) -> bytes:
    """A record with one to three of its fields changed, left out, said twice, or with others that nobody knows."""
    pairs = good_pairs(schema, random)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        field = random.choice(schema["fields"])
        value = any_value(field, random) if random.random() < 0.9 else random.choice(BROKEN)
        name = field["name"] if random.random() < 0.8 else random.choice(NAMES)
        way = random.random()
        if way < 0.6:
            pairs = [pair for pair in pairs if pair[0] != name]
        if way < 0.9:
            pairs.insert(random.choice([0, len(pairs), random.randint(0, len(pairs))]), (name, value))
        elif pairs:
            pairs.pop(random.randrange(len(pairs)))
    return record(pairs, random)


def damaged(value: bytes, random: Random) -> bytes:
    """The bytes with one to three cuts, insertions, repetitions or flipped bits."""
    for _ in range(random.choice([1, 1, 2, 3])):
        i = random.randint(0, len(value))
        j = min(len(value), i + random.choice([1, 1, 2, 5, 40]))
        way = random.randrange(6)
        if way == 0:
            value = value[:i]
        elif way == 1:
            value = value[:i] + value[j:]
        elif way == 2:
            value = value[:i] + random.choice(BYTES) + value[i:]
        elif way == 3:
            value = value[:i] + value[i:j] + value[i:]
        elif way == 4:
            value = value[:i] + random.choice(BYTES) + value[j:]
        elif i < len(value):
            value = value[:i] + bytes([value[i] ^ 1 << random.randrange(8)]) + value[i + 1 :]
    return value


def nested(depth: int, kind: str) -> str:
    """A value within `depth` arrays, objects, or both in turns."""
    opening = {"list": ("[", "["), "dict": ('{"a":', '{"a":'), "mixed": ('{"a":', "[")}[kind]
    return nest(opening, depth)


def nest(opening: tuple[str, str], depth: int) -> str:
    closing = {"[": "]", '{"a":': "}"}
    parts = [opening[i % 2] for i in range(depth)]
    return "".join(parts) + '"]}[{\\"]}"' + "".join(closing[part] for part in reversed(parts))


def depths(schema: Schema, random: Random) -> Iterator[bytes]:
    """Each depth of nesting around the limit and everything below, in places of every kind."""
    for depth in range(1, 1101):
        kind = random.choice(["list", "dict", "mixed"])
        first, last = schema["fields"][0]["name"], schema["fields"][-1]["name"]
        for name in ("other", random.choice([first, last])):
            yield record([*good_pairs(schema, random), (name, nested(depth - 1, kind))], random)
        yield nested(depth, kind).encode()
        if abs(depth - MAX_DEPTH) < 3:
            for each in ("list", "dict", "mixed"):
                yield record([("other", nested(depth - 1, each)), *good_pairs(schema, random)], random)
                yield nested(depth, each)[:-1].encode()


def giants(schema: Schema, random: Random) -> Iterator[bytes]:
    """Records of about the largest size, of bytes that nothing compresses, and of the smallest pieces."""
    known = schema["fields"][0]["name"]
    for name in ("other", known):
        for more in (-1, 0, 1):
            start = record([(name, '"')], random).rstrip(b"}\n\t\r ") + random.randbytes(MAX_BYTES // 2).hex().encode()
            yield start[: MAX_BYTES + more - 2] + b'"}'
    for piece in ("[],", '"\\"",', "{},", "1,", "[[[]]],", '"",'):
        for field in ("other", random.choice(schema["fields"])["name"]):
            items = piece * ((MAX_BYTES - 3000) // len(piece))
            yield record([*good_pairs(schema, random), (field, f"[{items}0]")], random)
    yield record([*good_pairs(schema, random), *((f"k{i}", "1") for i in range(90_000))], random)
    yield record([(known, '"x"')] * 80_000 + good_pairs(schema, random), random)
    yield record([*good_pairs(schema, random), (known, "1" * 1_000_000)], random)
    yield record([*good_pairs(schema, random), (known, "1." + "1" * 1_000_000)], random)
    yield b'{"' + b"\\" * 1_000_000 + b'"'
    yield b'"' + b'\\"' * 500_000


def fixed(random: Random) -> Iterator[tuple[int, bytes | None]]:
    """What each run holds: no value, no record, each broken piece, all depths, giants."""
    for i, schema in enumerate(SCHEMAS):
        yield from (
            (i, value)
            for value in (None, b"", b" ", b"null", b"[]", b'"x"', b"3", b"1e400", b"true", b"{}", b"\xef\xbb\xbf{}")
        )
        for field in schema["fields"]:
            values = [*WHOLE, *REAL, *STRINGS, *BROKEN, *OTHERS, *ITEMS, *borders(field, random)]
            for value in values:
                yield (
                    i,
                    record(
                        [*(p for p in good_pairs(schema, random) if p[0] != field["name"]), (field["name"], value)],
                        random,
                    ),
                )
        for value in [*WHOLE, *REAL, *STRINGS, *BROKEN, *OTHERS, *ITEMS]:
            yield i, record([*good_pairs(schema, random), ("other", value)], random)
        yield from ((i, value) for value in depths(schema, random))
        yield from ((i, value) for value in giants(schema, random))


def records(count: int, seed: int) -> Iterator[tuple[int, bytes | None]]:
    """`count` records, each with the place of its schema in SCHEMAS. The same seed gives the same records."""
    random = Random(seed)
    first = list(fixed(random))
    yield from first
    for _ in range(count - len(first)):
        i = random.choices(range(len(SCHEMAS)), [3, 2, 3])[0]
        value = changed(SCHEMAS[i], random) if random.random() < 0.6 else record(good_pairs(SCHEMAS[i], random), random)
        yield i, damaged(value, random) if random.random() < 0.4 else value
