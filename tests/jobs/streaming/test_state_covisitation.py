"""The state of the job covisitation: published fields stay (rules in udfs/jvm/UserHistory.java)."""

import pytest

from headrace.infra import paths

SOURCES = paths.PACKAGE / "udfs" / "jvm" / "src" / "main" / "java" / "headrace"

PUBLISHED = {
    "Baskets": (
        *("public long newest =", "public long[] traded =", "public long timer ="),
        *("MapView<Long, byte[]> days", "MapView<String, byte[]> trades"),
    ),
    "Totals": (
        *("public long[] users =", "public int newest =", "public double rounded;"),
        "MapView<String, Long> together",
    ),
    "Together": ("public long asOf =", "MapView<String, byte[]> others", "HEAD = 12, CELL = 8"),
    "Day": ("traded i32; then of each kind items i32, of each item t i64, length i32, UTF-8",),
    "Trade": ("bucket i64, purchases i32,\n * time of the first i64, refunds i32",),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_state_can_still_be_read(name: str) -> None:
    source = (SOURCES / f"{name}.java").read_text()
    assert [line for line in PUBLISHED[name] if line not in source] == []
