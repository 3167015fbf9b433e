"""What users are not shown: from the recent events that UserHistory emits to sorted sets hidden(user) in Redis.

docs/semantics.md, "What is hidden", defines it. Every job that makes a user's features or lists writes it, so readers
have it whichever job runs; the same events give the same members.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headrace.infra.clients.redis_writer import RedisWriter
from headrace.schemas import redis_keys
from headrace.udfs import resp, session
from headrace.udfs.history import Recent

Mask = NDArray[np.bool_]


def rows(users: pd.Series, recent: int) -> tuple[Mask, Mask]:
    """Returns which rows of a batch are the newest of their user, and some older ones, if `recent` events are in a row.

    The events of both kinds of rows together are all events of the batch.
    """
    back: Any = users.groupby(users, sort=False).cumcount(ascending=False).to_numpy()  # newer rows of the same user
    return back == 0, (back > 0) & (back % recent == 0)


def write(writer: RedisWriter, users: Iterable[str], recents: Iterable[Recent], bought_hidden_ms: int) -> None:
    each = ((user, session.hidden(recent, bought_hidden_ms)) for user, recent in zip(users, recents, strict=True))
    hidden = [(redis_keys.hidden(user), until) for user, until in each if until]
    keys, until = [key for key, _ in hidden], [until for _, until in hidden]
    writer.write(resp.scored(keys, until, redis_keys.HIDDEN_MAX), resp.SCORED)
