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

A source that fails costs itself alone: `degraded` names it, and the rest makes the best answer that is left. Without
Redis that is the popular list which was read last; a call then waits for the client's timeout at most (`connect`: half
a second), and once a second at most. An answer without "hidden", or without "redis", may hold what the user blocked.
With `strict=True` a call raises instead.
"""

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from redis.exceptions import RedisError

from headrace.edge import policies
from headrace.edge.answers import FRESH_S as FRESH_S
from headrace.edge.answers import SOURCES as SOURCES
from headrace.edge.answers import Answer, Answers
from headrace.edge.policies import Posteriors, name_of
from headrace.edge.policies import RecommendationError as RecommendationError
from headrace.edge.policies import policy as policy
from headrace.edge.tracker import Tracker
from headrace.edge.tracker_values import SpoolFull
from headrace.schemas.lists import Entry as Entry
from headrace.schemas.topics import IMPRESSIONS
from headrace.udfs.bandit import sums_version
from headrace.udfs.bandit.arms import Floats, Posterior
from headrace.udfs.bandit.context import SHOPPER, Encoder, Fields
from headrace.udfs.bandit.slate import Chooser
from headrace.udfs.contract import ContractError

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

RANKED = "ranked"  # the policy of an impression without a chooser: the list as it is
OWN = ("live", "recs")  # lists of the user; the others are anyone's
PARTS = ("redis", "version", *SOURCES, "hidden", "session", "bandit", IMPRESSIONS)
PATIENCE_S = 0.5  # of a page, with `connect`
NOTHING: Fields = {}


class Shown(NamedTuple):
    user_id: str
    items: tuple[Entry, ...]  # best first
    propensities: tuple[float, ...]  # of each item in its position, given those above; 1 without a chooser
    source: str  # live, recs, place, popular, or none; only the first two are the user's own
    version: str  # empty if none is published
    as_of_ms: int  # live: the broker's time of the event that caused the list
    stale: bool  # there is no list, it is older than stale_after_ms, or it is of another version
    impression_id: str | None  # for tracker.track(..., impression_id=...) when the user acts on an item
    degraded: tuple[str, ...] = ()  # what failed: some of PARTS; empty if all is well

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


class _Ranked(NamedTuple):
    policy: str  # that chose
    items: tuple[Entry, ...]
    propensities: tuple[float, ...]
    contexts: Floats  # (n, d)


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
        learnt: str | None = None,  # version of the arms (docs/bandit.md); None: of the encoder and the default rule
        strict: bool = False,  # a source that fails is an error, not a degraded answer
    ):
        if redis.get_encoder().decode_responses:
            raise ValueError("redis: decode_responses must be False, got True: posteriors are bytes")
        if not sources or not set(sources) <= set(SOURCES):
            raise ValueError(f"sources must be some of {', '.join(SOURCES)}, got {sources!r}")
        self._tracker, self._chooser, self._encoder, self._catalogue = tracker, chooser, encoder, catalogue
        self._candidates, self._stale_after_ms = candidates, stale_after_ms
        self._answers = Answers(redis, sources, strict)
        self._policy = name or (name_of(chooser.policy) if chooser else RANKED)
        self._posteriors: Posteriors | None = None
        if chooser:
            learnt = learnt or sums_version.of_encoder(encoder)
            self._posteriors = Posteriors(redis, chooser, self._policy, learnt, encoder.d, FRESH_S)
        self._dice = policies.Dice()

    @classmethod
    def connect(cls, tracker: Tracker | None = None, *, bandit: bool = False, **options: Any) -> Self:
        """Recommendations with the settings of this machine (infra/config/settings.toml).

        With `bandit`, the policy of section [bandit] ranks the lists. A call waits for Redis for PATIENCE_S at most, or
        for redis.timeout_s if that is less.
        """
        from headrace.infra.settings import load

        settings = load()
        own: dict[str, Any] = {"stale_after_ms": settings.collaborative.stale_after_ms}
        own |= {"encoder": policies.encoder(settings.bandit), "learnt": policies.learnt(settings.bandit)}
        if bandit:
            own |= {"chooser": policies.chooser(settings.bandit), "name": policies.short_name(settings.bandit.policy)}
        patience_s = min(settings.redis.timeout_s, PATIENCE_S)
        redis = settings.redis.client(socket_timeout=patience_s, socket_connect_timeout=patience_s)
        return cls(redis, tracker, **(own | options))

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
        Raises ValueError for an empty user_id, n < 1 or an environment that the encoder refuses; with `strict` also
        RecommendationError if Redis holds something else, RedisError if it is away, and what Tracker.impression raises.
        """
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        if not user_id:
            raise ValueError(f"user_id must have at least 1 character, got {user_id!r}")
        if isinstance(without, str):
            raise ValueError(f"without must be a collection of item ids, got the text {without!r}")
        now_ms = time.time_ns() // 1_000_000
        asked = _Asked(user_id, n, surface, environment, frozenset(without), now_ms, rng or self._dice.rng())
        failed: set[str] = set()
        version = self._answers.version(failed)
        answer = self._answers.of(version, user_id, environment, asked.without, now_ms, failed) if version else Answer()
        if answer.listed is None:
            return Shown(user_id, (), (), "none", version, 0, True, None, tuple(sorted(failed)))
        listed = answer.listed
        ranked = self._rank(asked, answer, listed.items, failed)
        stale = listed.version != version or asked.now_ms - listed.as_of_ms > self._stale_after_ms
        sent = self._sent(asked, listed.version, ranked, failed) if self._tracker else None
        told = answer.source, listed.version, listed.as_of_ms, stale, sent, tuple(sorted(failed))
        return Shown(user_id, ranked.items, ranked.propensities, *told)

    def version(self) -> str:
        """The version that serves, at most a second old, or the last that is known. Empty if none is published."""
        return self._answers.version(set())

    def _rank(self, asked: _Asked, answer: Answer, entries: list[Entry], failed: set[str]) -> _Ranked:
        items = [entry.item for entry in entries[: self._candidates if self._chooser else asked.n]]
        contexts = self._contexts(asked, answer, items, failed)
        arms = self._arms(items, failed)
        if arms is None:  # without a chooser, or without what it chooses by, the list as it is
            shown = tuple(entries[: asked.n])
            return _Ranked(RANKED if self._chooser else self._policy, shown, (1.0,) * len(shown), contexts[: asked.n])
        chooser, posteriors = arms
        slate = chooser.choose(items, contexts, posteriors, asked.rng, asked.n)
        of_item = {entry.item: entry for entry in entries}
        shown = tuple(of_item[item] for item in slate.items)
        return _Ranked(self._policy, shown, tuple(slate.propensities.tolist()), slate.contexts)

    def _arms(self, items: Sequence[str], failed: set[str]) -> tuple[Chooser, dict[str, Posterior]] | None:
        posteriors = self._posteriors
        try:
            return self._answers.asked(lambda: posteriors.of(items), failed) if posteriors else None
        except (RecommendationError, RedisError) as error:
            self._answers.failed("bandit", error, failed)
            return None

    def _contexts(self, asked: _Asked, answer: Answer, items: Sequence[str], failed: set[str]) -> Floats:
        """Shape (items, d); d is 0 where nobody needs them. A session that cannot be encoded counts as none."""
        if not (self._chooser or self._tracker):
            return np.empty((len(items), 0))
        about = self._items(items, answer)
        try:
            return self._encoder.encode(self._user(answer.session), about, asked.environment, asked.now_ms)
        except (ValueError, TypeError) as error:
            contexts = self._encoder.encode(self._user({}), about, asked.environment, asked.now_ms)
            self._answers.failed("session", error, failed)
            return contexts

    def _user(self, session: Mapping[str, Any]) -> Fields:
        """The session's features as text, and the category of the newest item the user acted on."""
        newest = next((item for item in session.get("recent_items", ()) if item), "")
        fields = {name: str(value) for name, value in session.items() if not isinstance(value, list)}
        return {"category": self._catalogue.get(newest, NOTHING).get("category")} | fields

    def _items(self, items: Sequence[str], answer: Answer) -> list[Fields]:
        """The fields of each item. Its popularity is its users over those of the most popular item."""
        popular = {entry.item: entry.score for entry in answer.popular.items} if answer.popular else {}
        most = max(popular.values(), default=0.0) or 1.0
        fields = self._catalogue
        return [{"popularity": popular.get(item, 0.0) / most} | dict(fields.get(item, NOTHING)) for item in items]

    def _sent(self, asked: _Asked, version: str, ranked: _Ranked, failed: set[str]) -> str | None:
        """The id of the slate, whose impressions the tracker has taken; None if it did not take them."""
        assert self._tracker
        slate: dict[str, Any] = {
            "impression_id": uuid.uuid4().hex, "user_id": asked.user_id, "surface": asked.surface,
            "policy": ranked.policy, "model_version": version, "encoder_version": self._encoder.version,
            "ts_ms": asked.now_ms,
        }  # fmt: skip
        rows = zip(ranked.items, ranked.propensities, ranked.contexts.tolist(), strict=True)
        try:
            for position, (entry, propensity, context) in enumerate(rows):
                own = {"item_id": entry.item, "position": position, "propensity": propensity, "context": context}
                self._tracker.impression(**slate, **own)
        except (SpoolFull, ContractError, RuntimeError) as error:  # the last: the tracker is closed
            self._answers.failed(IMPRESSIONS, error, failed)
            return None
        return str(slate["impression_id"])
