"""The read SDK: it reads a user's list from Redis, ranks it by a bandit if you wish, and sends its impressions.

    >>> with Tracker.connect() as tracker:                                       # doctest: +SKIP
    ...     recommendations = Recommendations.connect(tracker, bandit=True)
    ...     shown = recommendations.for_user("ann", 5, surface="home")
    ...     tracker.track("ann", "lamp-7", "click", impression_id=shown.impression_id)
    ...     [entry.item for entry in shown.items], shown.source, shown.stale
    (['lamp-7', 'bulb-2', 'shade-1', 'lamp-3', 'plug-9'], 'live', False)

The SDK asks once a second which version serves. Then one round trip gets its lists: `live`, `recs`, those popular in
the caller's `environment` (location, age, device), `popular`; and what is hidden from the user, because they blocked,
disliked or just bought it (docs/redis.md). The first list with an item that is not hidden, nor in the caller's
`without`, is taken. A chooser costs a second round trip, for the arms that were not read within the last second. All
commands have a single key, so a redis.RedisCluster works too.
"""

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
import numpy as np

from headrace.edge import policies
from headrace.edge.policies import Posteriors, name_of
from headrace.edge.policies import RecommendationError as RecommendationError
from headrace.edge.policies import policy as policy
from headrace.edge.tracker import Tracker
from headrace.schemas import redis_keys
from headrace.schemas.lists import Entry as Entry
from headrace.schemas.lists import Listed
from headrace.udfs.bandit.arms import Floats
from headrace.udfs.bandit.context import SHOPPER, Encoder, Fields
from headrace.udfs.bandit.slate import Chooser

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

RANKED = "ranked"  # the policy of an impression without a chooser: the list as it is
SOURCES = ("live", "recs", "place", "popular")  # the first that has an item to show is taken
OWN = ("live", "recs")  # lists of the user; the others are anyone's
FRESH_S = 1.0
NOTHING: Fields = {}


class ServedVersion(msgspec.Struct, frozen=True):
    version: str


class Shown(NamedTuple):
    user_id: str
    items: tuple[Entry, ...]  # best first
    propensities: tuple[float, ...]  # of each item in its position, given those above; 1 without a chooser
    source: str  # live, recs, place, popular, or none; only the first two are the user's own
    version: str  # empty if none is published
    as_of_ms: int  # live: the broker's time of the event that caused the list
    stale: bool  # there is no list, it is older than stale_after_ms, or it is of another version
    impression_id: str | None  # for tracker.track(..., impression_id=...) when the user acts on an item

    @property
    def own(self) -> bool:
        """Whether the list was made for this user. Who has seen everything has none of their own."""
        return self.source in OWN


class _Asked(NamedTuple):
    user_id: str
    n: int
    surface: str
    environment: Fields
    without: frozenset[str]
    now_ms: int
    rng: np.random.Generator


class _Answer(NamedTuple):
    source: str
    listed: Listed | None
    session: dict[str, str]
    popular: Listed | None


class Recommendations:
    """`redis` must not decode responses. `catalogue`: fields of items, such as category, for contexts.

    `name` is the name of the policy in impressions and in the key of its arms. Two ways of choosing need two names.
    """

    def __init__(
        self,
        redis: "Redis | RedisCluster",
        tracker: Tracker | None = None,
        chooser: Chooser | None = None,
        *,
        name: str | None = None,
        encoder: Encoder = SHOPPER,
        catalogue: Mapping[str, Fields] = NOTHING,
        sources: Sequence[str] = SOURCES,
        candidates: int = 50,  # of the list, for the chooser
        stale_after_ms: int = 172_800_000,
    ):
        if redis.get_encoder().decode_responses:
            raise ValueError("redis: decode_responses must be False, got True: posteriors are bytes")
        if not sources or not set(sources) <= set(SOURCES):
            raise ValueError(f"sources must be some of {', '.join(SOURCES)}, got {sources!r}")
        self._redis, self._tracker, self._chooser = redis, tracker, chooser
        self._encoder, self._catalogue = encoder, catalogue
        self._sources, self._candidates, self._stale_after_ms = sources, candidates, stale_after_ms
        self._policy = name or (name_of(chooser.policy) if chooser else RANKED)
        self._posteriors = Posteriors(redis, chooser, self._policy, encoder.d, FRESH_S) if chooser else None
        self._rng = np.random.default_rng()
        self._version, self._ask_at_s = "", 0.0

    @classmethod
    def connect(cls, tracker: Tracker | None = None, *, bandit: bool = False, **options: Any) -> Self:
        """Recommendations with the settings of this machine (infra/config/settings.toml).

        With `bandit`, the policy of section [bandit] ranks the lists.
        """
        from headrace.infra.settings import load

        settings = load()
        own: dict[str, Any] = {"stale_after_ms": settings.collaborative.stale_after_ms}
        own["encoder"] = policies.encoder(settings.bandit)
        if bandit:
            own |= {"chooser": policies.chooser(settings.bandit), "name": policies.short_name(settings.bandit.policy)}
        return cls(settings.redis.client(), tracker, **(own | options))

    def for_user(
        self,
        user_id: str,
        n: int,
        *,
        surface: str = "home",
        environment: Fields = NOTHING,
        without: Collection[str] = (),
        rng: np.random.Generator | None = None,
    ) -> Shown:
        """At most n items. With a tracker, each is sent as an impression.

        environment: fields such as device, for contexts, and for the list of a user who has none of their own;
        without: items that are not shown, from whatever list, such as those in the cart.
        Raises ValueError for an empty user_id or n < 1, and RecommendationError if Redis holds something else.
        """
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        if not user_id:
            raise ValueError(f"user_id must have at least 1 character, got {user_id!r}")
        if isinstance(without, str):
            raise ValueError(f"without must be a collection of item ids, got the text {without!r}")
        now_ms = time.time_ns() // 1_000_000
        asked = _Asked(user_id, n, surface, environment, frozenset(without), now_ms, rng or self._rng)
        version = self.version()
        answer = self._ask(version, asked) if version else _Answer("none", None, {}, None)
        listed = answer.listed
        if listed is None:
            return Shown(user_id, (), (), "none", version, 0, True, None)
        items, propensities, contexts = self._rank(asked, answer, listed.items)
        stale = listed.version != version or asked.now_ms - listed.as_of_ms > self._stale_after_ms
        shown = Shown(user_id, items, propensities, answer.source, listed.version, listed.as_of_ms, stale, None)
        return self._sent(asked, shown, contexts) if self._tracker else shown

    def version(self) -> str:
        """The version that serves, at most a second old. Empty if none is published."""
        if time.monotonic() >= self._ask_at_s:
            key = redis_keys.model_current()
            served = _decoded(key, self._redis.get(key), ServedVersion)
            self._version, self._ask_at_s = served.version if served else "", time.monotonic() + FRESH_S
        return self._version

    def _ask(self, version: str, asked: _Asked) -> _Answer:
        """Reads every list that could be shown, what is hidden, and the session, in one round trip."""
        user_id, environment = asked.user_id, asked.environment
        places = [(field, str(environment[field])) for field in redis_keys.PLACES if environment.get(field)]
        keys = [("live", redis_keys.live(version, user_id)), ("recs", redis_keys.recs(version, user_id))]
        keys += [("place", redis_keys.popular_by(version, *place)) for place in places]
        keys.append(("popular", redis_keys.popular(version)))
        pipeline = self._redis.pipeline(transaction=False)
        for _, key in keys:
            pipeline.get(key)
        pipeline.zrangebyscore(redis_keys.hidden(user_id), asked.now_ms, "+inf")
        pipeline.hgetall(redis_keys.session(user_id))
        *values, hidden, session = pipeline.execute()
        lists = [(source, _decoded(key, value, Listed)) for (source, key), value in zip(keys, values, strict=True)]
        absent = asked.without.union(item.decode(errors="replace") for item in hidden)
        allowed = ((source, _without(listed, absent)) for source, listed in lists if source in self._sources and listed)
        source, listed = next((each for each in allowed if each[1].items), ("none", None))
        fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in session.items()}
        return _Answer(source, listed, fields, lists[-1][1])

    def _rank(
        self, asked: _Asked, answer: _Answer, entries: list[Entry]
    ) -> tuple[tuple[Entry, ...], tuple[float, ...], Floats]:
        """The entries shown, their propensities and contexts."""
        entries = entries[: self._candidates if self._chooser else asked.n]
        items, certain = [entry.item for entry in entries], (1.0,) * len(entries)
        if not (self._chooser or self._tracker):
            return tuple(entries), certain, np.empty((len(entries), 0))
        facts = self._user(asked.user_id, answer.session), self._items(items, answer)
        contexts = self._encoder.encode(*facts, asked.environment, asked.now_ms)
        if self._posteriors is None:
            return tuple(entries), certain, contexts
        chooser, posteriors = self._posteriors.of(items)
        slate = chooser.choose(items, contexts, posteriors, asked.rng, asked.n)
        of_item = dict(zip(items, entries, strict=True))
        return tuple(of_item[item] for item in slate.items), tuple(slate.propensities.tolist()), slate.contexts

    def _user(self, user_id: str, session: dict[str, str]) -> Fields:
        """The session's features, and the category of the newest item the user acted on."""
        recent = _decoded(redis_keys.session(user_id), session.get("recent_items", "[]"), list[str])
        newest = next((item for item in recent if item), "")
        return {"category": self._catalogue.get(newest, NOTHING).get("category")} | session

    def _items(self, items: Sequence[str], answer: _Answer) -> list[Fields]:
        """The fields of each item. Its popularity is its users over those of the most popular item."""
        popular = {entry.item: entry.score for entry in answer.popular.items} if answer.popular else {}
        most = max(popular.values(), default=0.0) or 1.0
        fields = self._catalogue
        return [{"popularity": popular.get(item, 0.0) / most} | dict(fields.get(item, NOTHING)) for item in items]

    def _sent(self, asked: _Asked, shown: Shown, contexts: Floats) -> Shown:
        assert self._tracker
        slate: dict[str, Any] = {
            "impression_id": uuid.uuid4().hex, "user_id": asked.user_id, "surface": asked.surface,
            "policy": self._policy, "model_version": shown.version, "encoder_version": self._encoder.version,
            "ts_ms": asked.now_ms,
        }  # fmt: skip
        rows = zip(shown.items, shown.propensities, contexts.tolist(), strict=True)
        for position, (entry, propensity, context) in enumerate(rows):
            own = {"item_id": entry.item, "position": position, "propensity": propensity, "context": context}
            self._tracker.impression(**slate, **own)
        return shown._replace(impression_id=slate["impression_id"])


def _without(listed: Listed, absent: Collection[str]) -> Listed:
    return Listed(listed.version, listed.as_of_ms, [entry for entry in listed.items if entry.item not in absent])


def _decoded(key: str, value: Any, kind: Any) -> Any:
    try:
        return None if value is None else msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecommendationError(f"Redis key {key}: {error}, got {value[:80]!r}") from None
