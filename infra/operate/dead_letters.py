"""Dead letters: what the topic holds, how many for each reason, and sending them again after a fix.

A resend is recorded as committed offsets of the group `headrace-deadletters-resend.<reason>`. So no letter goes twice,
and letters of other reasons stay for later.
"""

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from headrace.infra.clients import kafka_topics
from headrace.infra.clients.kafka_topics import DEAD_LETTER_MAX_BYTES, admin
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Kafka
from headrace.schemas.topics import DEAD_LETTERS

GROUP = "headrace-deadletters-resend."
BATCH = 500  # letters between two commits
TRANSACTIONS = "headrace-deadletters-resend"


@dataclass(frozen=True)
class DeadLetter:
    partition: int  # place in dead_letters
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        return self.headers.get("reason", "unknown")

    @property
    def source(self) -> str:
        """Returns the place of the refused record: topic/partition/offset."""
        return "/".join(self.headers.get(name, "?") for name in ("topic", "partition", "offset"))


class Mended(NamedTuple):
    letter: DeadLetter
    topic: str
    value: bytes | None  # empty: dropped


def read(kafka: Kafka, reason: str | None = None) -> Iterator[DeadLetter]:
    """Yields every committed dead letter of a reason, or of all, in the order of each partition."""
    letters = map(_letter, kafka_topics.records(kafka, DEAD_LETTERS))
    return (letter for letter in letters if reason in (None, letter.reason))


def counts(kafka: Kafka) -> dict[str, int]:
    """Returns the number of letters by reason, most first."""
    totals: dict[str, int] = defaultdict(int)
    for letter in read(kafka):
        totals[letter.reason] += 1
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def resend(kafka: Kafka, reason: str | None, edit: str | None) -> tuple[int, int]:
    """Sends the letters that were not sent before to their topics. Returns (sent, dropped by the edit).

    edit: a shell command that reads a raw value and prints the mended one. Empty output drops the letter. Raises
    HeadraceError if Kafka is away, if the command fails, or if a letter does not say its topic.
    """
    from kafka import KafkaProducer

    with admin(kafka) as client:  # first, because it says what is wrong when Kafka is away
        producer = KafkaProducer(
            **kafka.client(),
            acks="all",
            max_request_size=DEAD_LETTER_MAX_BYTES,
            transactional_id=kafka.name(TRANSACTIONS),
        )
        producer.init_transactions()  # waits for the last resend's transaction to end, else `done` would be too old
        done = _done(kafka, client)
    mended: list[Mended] = []
    try:
        for each in _mended(kafka, reason, edit, done):
            mended.append(each)
            if len(mended) % BATCH == 0:
                _send(kafka, producer, mended[-BATCH:])
    finally:
        _send(kafka, producer, mended[len(mended) // BATCH * BATCH :])  # also those mended before an edit failed
        producer.close()
    return _counted(mended)


def preview(kafka: Kafka, reason: str | None, edit: str | None) -> tuple[int, int]:
    """Returns what `resend` would return now, and sends nothing."""
    with admin(kafka) as client:
        done = _done(kafka, client)
    return _counted(list(_mended(kafka, reason, edit, done)))


def _mended(kafka: Kafka, reason: str | None, edit: str | None, done: dict[tuple[str, int], int]) -> Iterator[Mended]:
    """Yields every letter that was not sent before, mended by the edit."""
    fix = _filter(edit) if edit else lambda letter: letter.value
    for letter in read(kafka, reason):
        if letter.offset >= done[letter.reason, letter.partition]:
            yield Mended(letter, _topic(letter), fix(letter))


def _counted(mended: list[Mended]) -> tuple[int, int]:
    dropped = sum(each.value == b"" for each in mended)
    return len(mended) - dropped, dropped


def _send(kafka: Kafka, producer: Any, batch: list[Mended]) -> None:
    """Sends the letters, and the record that they were sent, in one transaction."""
    if not batch:
        return
    producer.begin_transaction()
    for each in batch:
        if each.value != b"":
            producer.send(kafka.name(each.topic), key=each.letter.key, value=each.value)
    for group, offsets in _nexts(kafka, batch).items():
        producer.send_offsets_to_transaction(offsets, group)
    producer.commit_transaction()


def _nexts(kafka: Kafka, batch: list[Mended]) -> dict[str, dict[Any, Any]]:
    from kafka import TopicPartition
    from kafka.structs import OffsetAndMetadata

    nexts: dict[str, dict[Any, Any]] = defaultdict(dict)
    for letter, *_ in batch:
        part = TopicPartition(kafka.name(DEAD_LETTERS), letter.partition)
        nexts[kafka.name(GROUP) + letter.reason][part] = OffsetAndMetadata(letter.offset + 1, "", -1)
    return nexts


def _topic(letter: DeadLetter) -> str:
    topic = letter.headers.get("topic")
    if not topic:
        raise HeadraceError(
            f"the dead letter at {letter.partition}/{letter.offset} has no header `topic`, so it cannot go back"
        )
    return topic


def _filter(command: str) -> Callable[[DeadLetter], bytes]:
    def fix(letter: DeadLetter) -> bytes:
        done = subprocess.run(command, shell=True, input=letter.value or b"", capture_output=True)
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise HeadraceError(
                f"--edit failed with {done.returncode} on the letter from {letter.source}: {''.join(last)}"
            )
        return done.stdout.removesuffix(b"\n")

    return fix


def _done(kafka: Kafka, client: Any) -> dict[tuple[str, int], int]:
    """Returns by (reason, partition) the offset below which every letter was sent."""
    ours = kafka.name(GROUP)
    groups = [each["group_id"] for each in client.list_groups() if each["group_id"].startswith(ours)]
    committed_by_group = client.list_group_offsets(groups) if groups else {}
    done: dict[tuple[str, int], int] = defaultdict(int)
    for group, offsets in committed_by_group.items():
        for part, committed in offsets.items():
            done[group.removeprefix(ours), part.partition] = committed.offset
    return done


def _letter(record: Any) -> DeadLetter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return DeadLetter(record.partition, record.offset, record.key, record.value, headers)
