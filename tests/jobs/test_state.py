"""The state class is the savepoint's schema: what was published stays (rules in udfs/jvm/UserHistory.java)."""

import re

from infra import places

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
    "spans": "long[]",
    "grace": "long",
    "timer": "long",
}
PUBLISHED_VIEWS = ["MapView<String, Boolean> seen", "ListView<byte[]> log"]
PUBLISHED_EVENT = "ID = 2, T = 10, SESSION = 18, CATEGORY = 22, ACTION = 30, ITEM = 31"


def test_published_state_can_still_be_read() -> None:
    source = (places.CHECKOUT / "udfs" / "jvm" / "UserHistory.java").read_text()
    user = re.search(r"public static class User \{(.*?)\n  \}", source, re.DOTALL)
    assert user
    fields: dict[str, str] = {}
    for kind, names in re.findall(r"public ([\w\[\]]+) ([^;]+);", user[1]):
        fields |= {name.split("=")[0].strip(): kind for name in names.split(",")}
    assert {name: fields.get(name) for name in PUBLISHED} == PUBLISHED
    assert all(f"@StateHint(ttl = NO_TTL) {view}" in source for view in PUBLISHED_VIEWS)
    assert PUBLISHED_EVENT in source
