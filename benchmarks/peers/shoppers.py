"""The dict of a plain loop: every user's state in this process, and which users changed since the last write."""

import gc

import msgspec

from benchmarks.peers.features import User, count, decode
from benchmarks.peers.live_sessions import LiveSessions
from headrace.infra.settings import Settings


class Shoppers:
    def __init__(self, settings: Settings) -> None:
        gc.disable()  # the state holds no cycles, and walking it again and again costs half of the time
        self.rules, self.sessions = settings.session, LiveSessions(settings.redis.client())
        self.users: dict[str, User] = {}
        self.changed: dict[str, User] = {}
        self.dead_letters = 0

    def take(self, value: bytes, append_ms: int) -> None:
        try:
            click = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.dead_letters += 1
            return
        user = self.users.get(click.user_id) or User()
        if count(user, click, append_ms, self.rules):
            self.users[click.user_id] = self.changed[click.user_id] = user
        else:
            self.dead_letters += 1

    def write(self) -> None:
        if self.changed:
            self.sessions.write(self.changed.items())
            self.changed = {}
