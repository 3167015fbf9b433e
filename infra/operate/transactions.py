"""The Kafka transactions of a job: were those of a checkpoint aborted before they were committed?

Flink's sink gives each subtask a transaction a checkpoint, named, after kafka.prefix,
{job}-{topic}-{subtask}-{number of the checkpoint}.
"""

import re
from typing import Any

from headrace.infra.clients import kafka_topics
from headrace.infra.errors import HeadraceError, brief
from headrace.infra.settings import Kafka


def aborted(kafka: Kafka, job: str, after: int, until: int) -> list[str]:
    """Returns the transactions of the checkpoints after `after`, up to `until`, that Kafka aborted.

    Raises HeadraceError if the broker cannot tell.
    """
    topics = "|".join(kafka_topics.names())
    numbered = re.compile(rf"{re.escape(kafka.name(job))}-(?:{topics})-\d+-(\d+)")
    with kafka_topics.admin(kafka) as client:
        try:
            by_broker: dict[int, list[Any]] = client.list_transactions(state_filters=["CompleteAbort", "PrepareAbort"])
        except Exception as error:  # a broker before 3.0, or a user without the right
            raise HeadraceError(
                f"Kafka at {kafka.bootstrap} does not list its transactions ({brief(error)}), so nobody can tell "
                f"whether those of {job} were committed: --from-savepoint names where it is to go on"
            ) from None
    names = [each.transactional_id for found in by_broker.values() for each in found]
    numbers = {name: int(match[1]) for name in names if (match := numbered.fullmatch(name))}
    return sorted(name for name, number in numbers.items() if after < number <= until)
