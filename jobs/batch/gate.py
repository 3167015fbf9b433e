"""May readers see the night's model? docs/night.md, "Gate", explains each rule.

source     evaluate/report.json, the chosen model's files, the profile [night] gates of infra/config/gates.toml
transform  rules, each a value beside its limit
sink       gate/verdict.json; or gate-refused/verdict.json, a line for each broken rule, and exit 3

A refusal changes nothing that readers see: the version that serves goes on.

Run: headrace run gate --date 2026-01-31
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import load
from headrace.infra.versions import model_files
from headrace.jobs.batch import night
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.judging.limits import End, GateProfile, gate_profile
from headrace.jobs.batch.night import Night

STEP, REFUSED = "gate", "gate-refused"
Report = dict[str, Any]
Value = float | int | str | bool | None


class GateRule(msgspec.Struct, frozen=True, omit_defaults=True):
    rule: str
    value: Value
    limit: Value
    passed: bool
    must: str = "be"  # how the value must compare with the limit
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.rule} must {self.must} {_text(self.limit)}, got {_text(self.value)}{note}"


class Verdict(msgspec.Struct, frozen=True):
    passed: bool
    model: str
    profile: str
    rules: list[GateRule]
    sha256: dict[str, str]  # of the model's files, as they were judged


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load().night
    if tonight.is_left(STEP):
        return
    verdict = judge(tonight, settings.gates, gate_profile(Path(settings.gates_file), settings.gates))
    keep(tonight, verdict)
    broken = [str(rule) for rule in verdict.rules if not rule.passed]
    if broken:
        where = tonight.folder / REFUSED / "verdict.json"
        raise Refusal(
            "\n  ".join([f"gate of {tonight.date} refuses {verdict.model or 'the night'}, see {where}", *broken])
        )
    print(f"{STEP} of {tonight.date}: {verdict.model} passed {len(verdict.rules)} rules of {verdict.profile}")


def keep(tonight: Night, verdict: Verdict) -> None:
    """Writes the verdict and removes the other one of an earlier try: a night is passed or refused, never both."""
    step, other = (STEP, REFUSED) if verdict.passed else (REFUSED, STEP)
    shutil.rmtree(tonight.folder / other, ignore_errors=True)
    with tonight.writing(step) as draft:
        durable.write(draft / "verdict.json", msgspec.json.format(msgspec.json.encode(verdict), indent=1))


def judge(tonight: Night, name: str, wanted: GateProfile) -> Verdict:
    """Returns the verdict on the model that the night's report chose. name: of the profile `wanted`."""
    path = tonight.folder / "evaluate" / "report.json"
    if not path.is_file():
        missing = GateRule("report", "none", str(path), False, "be at")
        return Verdict(False, "", name, [missing], {})
    report = msgspec.json.decode(path.read_bytes())
    model, folder = report["chosen"], tonight.folder / report["chosen"]
    rules = [*sound(report, model, folder, wanted), *good(report, model, wanted)]
    return Verdict(all(rule.passed for rule in rules), model, name, rules, report["files"].get(model, {}))


def sound(report: Report, model: str, folder: Path, wanted: GateProfile) -> Iterator[GateRule]:
    """Yields the rules that the model is the one that was evaluated, on events that it had not seen."""
    yield GateRule("report", report["k"], wanted.k, report["k"] == wanted.k, "be of lists of length")
    yield equal("checks", "passed" if report["checks"]["passed"] else "not passed", "passed")
    digest = report["digests"].get(model, {})
    yield equal("digest", digest.get("trained"), digest.get("expected", "the split's"))
    yield from whole(folder, report["files"].get(model, {}))
    yield at_least("catalogue", report["catalogue"].get(model), wanted.catalogue)


def whole(folder: Path, evaluated: dict[str, str]) -> Iterator[GateRule]:
    """Yields the rules on the model's files. evaluated: the sha256 of each when it was evaluated."""
    try:
        items, faults = model_files.items(folder), roster.load(folder).sound()
    except HeadraceError as error:
        yield GateRule("sound", str(error), "readable", False)
        return
    yield equal("sound", "; ".join(faults) or "sound", "sound")
    sorted_once = items == sorted(set(items)) and "" not in items
    yield equal("item_map", "in order, once" if sorted_once else "unordered, empty or repeated", "in order, once")
    now = durable.hashes(folder)
    for name in sorted(now.keys() | evaluated):
        yield equal(f"file.{name}", now.get(name, "missing"), evaluated.get(name, "not evaluated"))


def good(report: Report, model: str, wanted: GateProfile) -> Iterator[GateRule]:
    """Yields the rules that the model is better than popularity, and no worse than what readers have."""
    figures, protocol = report["models"][model], report["protocol"]
    floors = wanted.floors.get(protocol.partition(":")[0])
    known = ", ".join(wanted.floors)
    yield GateRule("protocol", protocol, known, floors is not None, "be one that the profile has floors for:")
    for metric, limit in (floors or {}).items():
        yield above(f"floor.{metric}", _value(figures, metric), limit, bound(report, metric, limit))
    yield at_least("users", report["data"]["users"], wanted.users)
    yield at_least("hits", figures.get("hits"), wanted.hits)
    yield from live(report.get("live", {}).get("models", {}).get(model, {}), wanted)
    if figures.get("known", 1) == 0:
        yield GateRule("known", 0, 0, True, "be", "all users are new: the live path alone is judged")
    else:
        gain = _end(figures["against"]["popularity"].get("ndcg"), wanted.popularity)
        yield above("popularity", gain, 0.0, "NDCG above that of the popular list")
        yield at_most("overlap", _value(figures, "popularity_overlap"), wanted.overlap)
    champion = report["champion"]
    fair = bool(champion and champion["comparable"])
    if fair:
        served = report["baselines"]["champion"]
        difference = _end(figures["against"]["champion"].get("ndcg"), wanted.champion)
        yield at_least("champion", difference, -wanted.tolerance * served["ndcg"]["value"])
    for name in figures["segments"]:
        yield from segment(report, model, name, wanted, fair)


def live(figures: Report, wanted: GateProfile) -> Iterator[GateRule]:
    """Yields the rules on the lists that shoppers get while they act."""
    gain = _end(figures.get("against", {}).get("popularity"), wanted.popularity)
    yield above("live.popularity", gain, 0.0, "NDCG of live lists above that of the popular list")
    yield at_most("live.loss", figures.get("loss"), wanted.live_loss)


def segment(report: Report, model: str, name: str, wanted: GateProfile, fair: bool) -> Iterator[GateRule]:
    """Yields the rules on one segment of users. fair: the champion is comparable."""
    users = report["models"][model]["segments"][name]["users"]
    if users < wanted.segment_users:
        note = f"not judged with fewer than {wanted.segment_users} users"
        yield GateRule(f"segment.{name}", users, wanted.segment_users, True, "have", note)
        return
    for other in ("popularity", "champion") if fair else ("popularity",):
        theirs = report["baselines"][other]["segments"][name]["ndcg"]["value"]
        difference = report["models"][model]["against"][other]["segments"][name]
        limit = -wanted.segment_tolerance * theirs
        yield at_least(f"segment.{name}.{other}", _end(difference, wanted.champion), limit)


def bound(report: Report, metric: str, limit: float) -> str:
    """Returns why no model can pass the limit; empty if one can."""
    best = report["bounds"].get(metric, 1.0)
    return "" if best > limit else f"no list reaches more than {best:.4g} under {report['protocol']}"


def _end(interval: dict[str, float] | None, end: End) -> Value:
    value: Value = interval.get(end) if interval else None
    return value


def _value(figures: Report, metric: str) -> Value:
    return _end(figures.get(metric), "value")


def above(rule: str, value: Value, limit: float, note: str = "") -> GateRule:
    return GateRule(rule, value, limit, _is_number(value) and value > limit, "be >", note)  # type: ignore[operator]


def at_least(rule: str, value: Value, limit: float) -> GateRule:
    return GateRule(rule, value, limit, _is_number(value) and value >= limit, "be >=")  # type: ignore[operator]


def at_most(rule: str, value: Value, limit: float) -> GateRule:
    return GateRule(rule, value, limit, _is_number(value) and value <= limit, "be <=")  # type: ignore[operator]


def equal(rule: str, value: Value, limit: Value) -> GateRule:
    return GateRule(rule, value, limit, value == limit)


def _is_number(value: Value) -> bool:
    return isinstance(value, float | int) and bool(np.isfinite(value))


def _text(value: Value) -> str:
    return "nothing" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
