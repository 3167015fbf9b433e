"""The sessions that a tracker gives: an id and a position for each event of a user, until a gap."""

import uuid
from collections import OrderedDict


class Sessions:
    """The running session of each user, as far as one process sees it: for the stream its id is a label alone."""

    REMEMBERED = 500_000  # users, some 150 MB; the user who was silent for longest is forgotten first

    def __init__(self, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._users: OrderedDict[str, tuple[bytes, int, int]] = OrderedDict()

    def next(self, user_id: str, ts_ms: int) -> tuple[bytes, int]:
        """(session_id, position) of the user's next event. A new session begins after a gap."""
        session_id, position, last_ms = self._users.pop(user_id, (b"", 0, 0))
        if not session_id or ts_ms - last_ms > self._gap_ms:
            session_id, position, last_ms = uuid.uuid4().hex.encode(), 0, ts_ms
        self._users[user_id] = session_id, position + 1, max(last_ms, ts_ms)
        if len(self._users) > self.REMEMBERED:
            self._users.popitem(last=False)
        return session_id, position
