"""The encoder against a vector worked by hand; its version against a golden value."""

import subprocess
import sys
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

from headrace.udfs.bandit.context import SHOPPER, Cycle, Encoder, Hashed, Match, Number, OneHot

NOON_MS = 1_762_000_200_000  # Saturday 2025-11-01 12:30:00 UTC
SMALL = Encoder(
    (
        Number("user", "events", scale=2.0),
        Number("item", "price", scale=np.log(101.0).item(), log=True),
        OneHot("environment", "device", ("phone", "desktop")),
        Cycle("weekday", "UTC"),
        Match("category", "kind"),
    )
)


def bucket(field: str, value: str, buckets: int) -> int:
    return int.from_bytes(blake2b(f"{field}={value}".encode(), digest_size=8).digest(), "little") % buckets


def test_by_hand() -> None:
    user = {"events": "1", "category": "lamps"}  # text, as in Redis
    items: list[dict[str, Any]] = [{"price": 100.0, "kind": "lamps"}, {"kind": "chairs"}]
    X = SMALL.encode(user, items, {"device": "desktop"}, NOON_MS)
    angle = 2 * np.pi * 5 / 7
    week = np.floor(np.array([np.sin(angle), np.cos(angle)]) * 4096 + 0.5) / 4096
    np.testing.assert_array_equal(X, [[1, 0.5, 1, 0, 1, *week, 1], [1, 0.5, 0, 0, 1, *week, 0]])
    assert SMALL.d == X.shape[1] == 8


def test_what_is_unknown_is_zero() -> None:
    for nothing in ({}, {"events": None, "category": None}, {"events": "", "category": ""}):
        (x,) = SMALL.encode(nothing, [{"kind": ""}], {"device": "toaster"}, NOON_MS)
        assert x[[1, 2, 3, 4, 7]].tolist() == [0, 0, 0, 0, 0]
    hashed = Encoder((Hashed("item", "brand", 5),))
    assert hashed.encode({}, [{}, {"brand": ""}], {}, 0)[:, 1:].sum() == 0
    assert SMALL.encode({}, [], {}, 0).shape == (0, 8)


def test_numbers_are_clipped() -> None:
    encoder = Encoder((Number("user", "a", scale=2.0), Number("user", "b", scale=1.0, log=True)))
    assert encoder.encode({"a": 7, "b": -3}, [{}], {}, 0).tolist() == [[1, 1, 0]]
    assert encoder.encode({"a": -7, "b": 9}, [{}], {}, 0).tolist() == [[1, -1, 1]]


def test_hashed_values_have_one_place() -> None:
    encoder = Encoder((Hashed("user", "category", 7), Hashed("item", "category", 3)))
    for value in ("lamps", "chairs", "Ré-édition", "7"):
        (x,) = encoder.encode({"category": value}, [{"category": value}], {}, 0)
        assert np.flatnonzero(x).tolist() == [0, 1 + bucket("category", value, 7), 8 + bucket("category", value, 3)]


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 12.5), ("Asia/Kathmandu", 18.25), ("America/New_York", 8.5)])
def test_the_hour_is_local(zone: str, hours: float) -> None:
    (x,) = Encoder((Cycle("hour", zone),)).encode({}, [{}], {}, NOON_MS)
    angle = 2 * np.pi * hours / 24
    np.testing.assert_allclose(x, [1, np.sin(angle), np.cos(angle)], atol=1.3e-4)


def test_the_shopper_encoder() -> None:
    user = {"events": "200", "duration_h": ".25", "mean_dwell_s": "30.0", "rate_click": "0.5", "category": "lamps"}
    items = [{"popularity": 0.25, "category": "lamps"}, {"popularity": 1, "category": "chairs"}]
    X = SHOPPER.encode(user, items, {"device": "phone"}, NOON_MS)
    assert X.shape == (2, 16) == (2, SHOPPER.d)
    np.testing.assert_array_equal(X[0, :14], X[1, :14])
    assert X[:, 14:].tolist() == [[0.25, 1], [1, 0]]
    assert X[0, [0, 1, 2, 4, 5]].tolist() == [1, 1, 0.25, 0.5, 0]
    assert X[0, 10:12].tolist() == [1, 0]
    assert X[0, 6:10].tolist() == [float(i == bucket("category", "lamps", 4)) for i in range(4)]
    assert np.array_equal(np.floor(X * 4096), X * 4096)
    assert np.abs(X).max() <= 1


def test_the_version_is_that_of_the_declaration() -> None:
    assert SHOPPER.version == "dfa1d4b023d5"
    assert Encoder(SHOPPER.columns).version == SHOPPER.version
    others = [
        Encoder((OneHot("user", "a", ("x", "y")),)),
        Encoder((OneHot("item", "a", ("x", "y")),)),
        Encoder((OneHot("user", "b", ("x", "y")),)),
        Encoder((OneHot("user", "a", ("y", "x")),)),
        Encoder((Hashed("user", "a", 2),)),
        Encoder((Hashed("user", "a", 3),)),
        Encoder((Number("user", "a", 1.0),)),
        Encoder((Number("user", "a", 1.0, log=True),)),
        Encoder((Cycle("hour", "UTC"),)),
        Encoder((Cycle("weekday", "UTC"),)),
        Encoder((Number("user", "a", 1.0), Number("user", "b", 1.0))),
        Encoder((Number("user", "b", 1.0), Number("user", "a", 1.0))),
    ]
    assert len({encoder.version for encoder in others}) == len(others)


def test_other_processes_agree() -> None:
    code = (
        "from headrace.udfs.bandit.context import *; "
        "print(SHOPPER.version, Encoder((Hashed('user', 'c', 97),)).encode({'c': 'lamps'}, [{}], {}, 0).argmax(), "
        "Encoder((Hashed('user', 'c', 97),)).encode({'c': 'lamps'}, [{}], {}, 0)[0, 1:].argmax())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{SHOPPER.version} 0 {bucket('c', 'lamps', 97)}\n"}


def test_check_refuses_another_declaration() -> None:
    x = [0.0] * 8
    SMALL.check(SMALL.version, x)
    SMALL.check(None, x)
    with pytest.raises(ValueError, match=rf"encoder_version must be {SMALL.version}, got {SHOPPER.version}"):
        SMALL.check(SHOPPER.version, x)
    with pytest.raises(ValueError, match="context must have 8 values, got 9"):
        SMALL.check(SMALL.version, [0.0] * 9)
    with pytest.raises(ValueError, match="context must be finite, got nan"):
        SMALL.check(SMALL.version, [0.0] * 7 + [float("nan")])


@pytest.mark.parametrize("value", ["abc", "nan", "inf", [1]])
def test_a_number_must_be_one(value: Any) -> None:
    with pytest.raises(ValueError, match=r"user\.events must be a finite number, got "):
        SMALL.encode({"events": value}, [{}], {}, 0)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Number("users", "a", 1.0), "Number.of must be user, item or environment, got 'users'"),
        (Number("user", "a", 0.0), "Number.scale must be finite and > 0, got 0.0"),
        (OneHot("user", "a", ()), "OneHot: must have at least one category or bucket, got 0"),
        (Hashed("user", "a", 0), "Hashed: must have at least one category or bucket, got 0"),
        (Hashed("user", "a", 256), "columns must give at most 256 values, got 257"),
        (Cycle("month", "UTC"), "Cycle.period must be hour or weekday, got 'month'"),
    ],
)
def test_a_declaration_must_make_sense(column: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder((column,))
