"""Every name, profile, rule and file that the settings mention, resolved: nonsense is refused now, not in the night."""

from collections.abc import Callable
from pathlib import Path

from headrace.edge import policies
from headrace.infra.errors import HeadraceError
from headrace.infra.launch import batch, streaming
from headrace.infra.settings import Settings, load
from headrace.infra.stack.doctor import DoctorFinding, finding
from headrace.infra.versions import rules
from headrace.jobs.batch.judging import limits


def findings() -> list[DoctorFinding]:
    """None while the settings themselves are wrong: the finding `settings` says so."""
    try:
        settings = load()
    except HeadraceError:
        return []
    night = settings.night
    checks: dict[str, Callable[[], object]] = {
        "bandit.encoder": lambda: policies.encoder(settings.bandit),
        "bandit.policy": lambda: policies.chooser(settings.bandit),
        "night.models": lambda: _models(settings),
        "night.gates": lambda: limits.gate_profile(Path(night.gates_file), night.gates),
        "night.checks": lambda: limits.checks(Path(night.checks_file)),
        "night.drift": lambda: limits.drift_limits(Path(night.drift_file)),
        "night.rules": lambda: rules.load(Path(night.rules)),
        "night.two_tower": lambda: _catalogue(night.two_tower.catalogue),
        "watch.jobs": lambda: _jobs(settings.watch.jobs),
    }
    named = {
        "bandit.encoder": settings.bandit.encoder,
        "bandit.policy": settings.bandit.policy,
        "night.models": ", ".join(night.models),
        "night.gates": f"{night.gates} of {night.gates_file}",
        "night.checks": night.checks_file,
        "night.drift": night.drift_file,
        "night.rules": night.rules,
        "night.two_tower": f"catalogue {night.two_tower.catalogue or 'none'}",
        "watch.jobs": ", ".join(settings.watch.jobs),
    }
    return [finding(name, _saying(check, named[name])) for name, check in checks.items()]


def _saying(check: Callable[[], object], words: str) -> Callable[[], str]:
    def checked() -> str:
        try:
            check()
        except ValueError as error:  # says name, rule and value
            raise HeadraceError(str(error)) from None
        return words

    return checked


def _models(settings: Settings) -> None:
    known = [step.name for step in batch.STEPS if step.trains]
    if unknown := [name for name in settings.night.models if name not in known]:
        raise HeadraceError(f"night.models must be of {', '.join(known)}, got {', '.join(unknown)}")


def _catalogue(file: str) -> None:
    if file and ":" not in file and not Path(file).exists():
        raise HeadraceError(f"night.two_tower.catalogue must name an existing file, got {file!r}")


def _jobs(names: list[str]) -> None:
    if unknown := [name for name in names if name not in streaming.JOBS]:
        raise HeadraceError(f"watch.jobs must be of {', '.join(streaming.JOBS)}, got {', '.join(unknown)}")
