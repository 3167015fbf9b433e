"""What a job's state means: a run of another meaning does not go on from it.

Only the bandit has one: the version of its encoder, rule of rewards and half-life (docs/bandit.md, "Versions"). A run
of another version begins without state, with the sums of its version in the topic `statistics`.
"""

from headrace.infra import extensions
from headrace.infra.settings import Settings

BANDIT = "bandit"


def generation(settings: Settings, job: str) -> str:
    """Returns the version; empty for a job that has none."""
    if job != BANDIT:
        return ""
    from headrace.udfs.bandit import sums_version
    from headrace.udfs.bandit.context import Encoder

    encoder = extensions.resolve_kind("bandit.encoder", settings.bandit.encoder, Encoder)
    return sums_version.of_rules(encoder, settings.bandit)


def group(settings: Settings, job: str) -> str:
    """Returns the job's consumer group."""
    from headrace.udfs.bandit import sums_version

    return sums_version.group(job, generation(settings, job))
