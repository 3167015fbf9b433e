"""edge/spool_line.py: a line gives its record back, whatever the user is called; a damaged one is an error."""

import msgspec
import pytest

from headrace.edge.spool_line import Message, frame, message
from headrace.schemas.topics import CLICKS

USERS = ("ann", "", 'a" {"user_id":"bob"}', "two\nlines", "\0", "Zo\u00eb \U0001f600", "9 9 {")


@pytest.mark.parametrize("user", USERS)
def test_a_line_gives_the_record_back(user: str) -> None:
    value = msgspec.json.encode({"event_id": "1", "user_id": user, "item_id": "lamp {"})
    line = frame(CLICKS, value)
    assert b"\n" not in line
    assert message(line) == Message(CLICKS, user.encode(), value)


def test_a_damaged_line_is_an_error() -> None:
    whole = frame(CLICKS, b'{"user_id":"ann"}')
    for line in (b"", b"clicks", bytes(40), whole[:-8] + bytes(8), whole[:10] + bytes(14), whole[:-1], whole[10:]):
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            message(line)
