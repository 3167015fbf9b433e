"""A job that restarts again and again at one place: since when, where it begins each time, and why."""

from datetime import UTC, datetime

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.clients.flink import Failure
from headrace.infra.operate import generations
from headrace.infra.settings import Settings


def described(settings: Settings, job: flink.Job, failures: list[Failure]) -> str:
    """Returns the loop in a line; empty if the job is in none.

    failures: the newest first. A checkpoint between two failures means that the job got further.
    """
    last = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")["latest"]["completed"]
    loop = since(failures, last["latest_ack_timestamp"] if last else 0)
    if not loop:
        return ""
    committed = sorted(kafka_topics.committed(settings.kafka, generations.group(settings, job.name)).items())
    where = ", ".join(f"{part.topic} {part.partition} offset {offset}" for part, offset in committed)
    first = datetime.fromtimestamp(loop[-1].at_ms / 1000, UTC)
    begins = f"it begins again at {where}" if where else "before its first checkpoint"
    return f"{len(loop)} at one place since {first:%Y-%m-%d %H:%M:%S} UTC, {begins}: {loop[0].cause}"


def since(failures: list[Failure], checkpoint_ms: int) -> list[Failure]:
    """Returns the failures of one cause after the job's last checkpoint, if they are a loop."""
    return flink.repeated([each for each in failures if each.at_ms > checkpoint_ms])
