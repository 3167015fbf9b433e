"""A state class is the savepoint's schema: published fields stay (rules in udfs/jvm/UserHistory.java)."""

import re

from headrace.infra import paths

SOURCES = paths.PACKAGE / "udfs" / "jvm" / "src" / "main" / "java" / "headrace"

PUBLISHED = {
    "clock": "long",
    "start": "long",
    "end": "long",
    "asOf": "long",
    "sessionId": "String",
    "session": "int",
    "events": "long",
    "items": "long",
    "categories": "long",
    "late": "long",
    "repeats": "long",
    "amount": "double",
    "counts": "long[]",
    "recent": "byte[]",
    "kept": "int",
    "spilled": "boolean",
    "logged": "boolean",
    "spans": "long[]",
    "grace": "long",
    "timer": "long",
}
PUBLISHED_VIEWS = ["MapView<String, Boolean> seen", "ListView<byte[]> log"]
PUBLISHED_EVENT = "ID = 2, T = 10, SESSION = 18, CATEGORY = 22, ACTION = 30, ITEM = 31"
PUBLISHED_ARM = {"sums": "byte[]", "period": "long", "asOf": "long"}


def fields_of(source: str, name: str) -> dict[str, str]:
    state = re.search(rf"public static class {name} \{{(.*?)\n  \}}", source, re.DOTALL)
    assert state
    found: dict[str, str] = {}
    for kind, names in re.findall(r"public ([\w\[\]]+) ([^;]+);", state[1]):
        found |= {name.split("=")[0].strip(): kind for name in names.split(",")}
    return found


def test_published_sums_can_still_be_read() -> None:
    source = (SOURCES / "ArmSums.java").read_text()
    assert fields_of(source, "Arm") == PUBLISHED_ARM
    assert "@StateHint(ttl = UserHistory.NO_TTL) MapView<Long, byte[]> older" in source


def test_published_state_can_still_be_read() -> None:
    source = (SOURCES / "UserHistory.java").read_text()
    fields = fields_of(source, "User")
    assert {name: fields.get(name) for name in PUBLISHED} == PUBLISHED
    assert all(f"@StateHint(ttl = NO_TTL) {view}" in source for view in PUBLISHED_VIEWS)
    assert PUBLISHED_EVENT in source
