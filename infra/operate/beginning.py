"""Where `headrace submit` begins a job: at its newest place, or anew where it never ran or the user says so.

To begin anew where a job has run would write its topics a second time, and what it has learnt would be replaced by what
the log still holds. So that is done only on demand, and a job that has run without any known place is refused.
"""

import time
from dataclasses import replace
from typing import NamedTuple

from headrace.infra import job_notes
from headrace.infra.clients import kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import Submission
from headrace.infra.operate import generations, places
from headrace.infra.settings import Settings
from headrace.schemas import topics

# By job: topics that nobody else writes, and what becomes of its results when it begins anew.
WRITES: dict[str, tuple[str, ...]] = {
    "session_features": (topics.SESSIONS,),
    "bandit": (topics.STATISTICS, topics.REWARDS),
    "federated": (topics.AGGREGATES, topics.SUMS),
}
ANEW = {
    "session_features": "closed sessions and dead letters of every click in the log are written a second time, and "
    "shoppers' sessions are counted from what the log still holds",
    "collaborative": "shoppers' histories are those that the log still holds",
    "covisitation": "what goes together is counted from what the log still holds",
    "bandit": "its arms go on from the topic `statistics`, but feedback on what was shown before is lost",
    "federated": "rounds that were open are lost",
}


class Beginning(NamedTuple):
    """submission: what to submit; where: in words; overwrites: what is to be asked first, or empty."""

    submission: Submission
    where: str
    overwrites: str = ""


def begin(settings: Settings, wish: Submission, anew: bool = False) -> Beginning:
    """Returns where the job begins. Raises HeadraceError if it has run, and no place of it is known."""
    wish = replace(wish, generation=generations.generation(settings, wish.job))
    if wish.from_savepoint:
        return Beginning(wish, f"from {wish.from_savepoint}")
    if is_changed(wish):
        return Beginning(
            _anew(wish), "without state, since what its sums mean has changed: they are as in `statistics`"
        )
    if not anew and (choice := places.choose(settings, wish.job)):
        return begin_at(wish, choice)
    traces = _traces(settings, wish.job)
    if traces and not anew:
        raise HeadraceError(
            f"{wish.job} has run ({'; '.join(traces)}), but no checkpoint or savepoint of it is known here: "
            f"--from-savepoint names one, --from-scratch begins anew"
        )
    why = f"{wish.job} has run ({'; '.join(traces)}). If it begins anew, {ANEW[wish.job]}" if traces else ""
    return Beginning(_anew(wish), "without state", why)


def is_changed(wish: Submission) -> bool:
    """Returns whether the job's state has another meaning than that of the submission. Older notes do not say."""
    note = job_notes.read(wish.job)
    return bool(note and note.generation and note.generation != wish.generation)


def _anew(wish: Submission) -> Submission:
    return replace(wish, anew_ms=time.time_ns() // 1_000_000)


def begin_at(wish: Submission, choice: places.Choice) -> Beginning:
    return Beginning(_from(wish, choice.place), _described(choice))


def _from(wish: Submission, place: places.Place) -> Submission:
    """A checkpoint, unlike a savepoint, can only be read by the state backend that wrote it."""
    note = job_notes.read(wish.job)
    backend = note.state_backend if note and place.checkpoint else None
    if backend and wish.state_backend not in (None, backend):
        raise HeadraceError(
            f"the newest place of {wish.job} is a checkpoint of state backend {backend}, not {wish.state_backend}: "
            f"go on with --state-backend {backend}, `headrace stop {wish.job} --savepoint`, then submit with the other"
        )
    backend = wish.state_backend or backend
    return replace(wish, from_savepoint=place.path, place_ms=place.taken_ms, state_backend=backend)


def _described(choice: places.Choice) -> str:
    age_s = time.time() - choice.place.taken_ms / 1000
    where = f"from {choice.place.path}, {age_s:.0f} s old"
    if not choice.lost:
        return where
    first = f"{len(choice.lost)} of its transactions were aborted while it was away ({choice.lost[0]})"
    if choice.place.checkpoint and int(choice.lost[0].rpartition("-")[2]) > choice.place.checkpoint:
        return f"{where}, the checkpoint before the newest: {first}, so what they held is written again"
    return f"{where}: {first}, and what they held is LOST, as no checkpoint before it is left"


def _traces(settings: Settings, job: str) -> list[str]:
    """Returns what shows that the job has run: offsets that its group committed, records in its topics."""
    read = sum(kafka_topics.committed(settings.kafka, generations.group(settings, job)).values())
    sizes = kafka_topics.sizes(settings.kafka)
    written = [f"{sizes[name]:,} records in {name}" for name in WRITES.get(job, ()) if sizes.get(name)]
    return [*([f"its group has read {read:,} records"] if read else []), *written]
