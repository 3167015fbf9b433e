"""Every name, profile, rule and file that the settings mention, resolved: nonsense is refused now, not in the night."""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from headrace.edge import policies
from headrace.infra.errors import HeadraceError
from headrace.infra.launch import batch, streaming
from headrace.infra.settings import load
from headrace.infra.stack.doctor import DoctorFinding, finding
from headrace.infra.versions import rules
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.judging import limits


def findings() -> list[DoctorFinding]:
    """None while the settings themselves are wrong: the finding `settings` says so."""
    try:
        settings = load()
    except HeadraceError:
        return []
    night, bandit, watched = settings.night, settings.bandit, settings.watch.jobs
    models = {*(step.name for step in batch.STEPS if step.trains), *night.models}
    catalogue = night.two_tower.catalogue
    checks: list[tuple[str, str, Callable[[], object]]] = [  # the setting, what it names, and what resolves that
        ("bandit.encoder", bandit.encoder, lambda: policies.encoder(bandit)),
        ("bandit.policy", bandit.policy, lambda: policies.chooser(bandit)),
        ("night.models", ", ".join(night.models), lambda: [roster.settings(name, night) for name in night.models]),
        (
            "night.families",
            ", ".join(night.families) or "none",
            lambda: _known("night.families", night.families, models),
        ),
        (
            "night.gates",
            f"{night.gates} of {night.gates_file}",
            lambda: limits.gate_profile(Path(night.gates_file), night.gates),
        ),
        ("night.checks", night.checks_file, lambda: limits.checks(Path(night.checks_file))),
        ("night.drift", night.drift_file, lambda: limits.drift_limits(Path(night.drift_file))),
        ("night.rules", night.rules, lambda: rules.read(Path(night.rules))),
        ("night.two_tower", f"catalogue {catalogue or 'none'}", lambda: _catalogue(catalogue)),
        ("watch.jobs", ", ".join(watched), lambda: _known("watch.jobs", watched, streaming.JOBS)),
    ]
    return [finding(name, partial(_resolved, words, resolve)) for name, words, resolve in checks]


def _resolved(words: str, resolve: Callable[[], object]) -> str:
    resolve()
    return words


def _known(setting: str, names: Iterable[str], known: Collection[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise HeadraceError(f"{setting} must be of {', '.join(known)}, got {', '.join(unknown)}")


def _catalogue(file: str) -> None:
    if file and ":" not in file and not Path(file).exists():
        raise HeadraceError(f"night.two_tower.catalogue must name an existing file, got {file!r}")
