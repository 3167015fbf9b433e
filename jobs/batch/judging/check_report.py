"""A night's check as a self-contained page for people, and as JSON for programs."""

import json
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from headrace.infra import durable
from headrace.jobs.batch.judging.expectations import CheckRule
from headrace.jobs.batch.night import Night

REPORT = "report.json"
NIGHTS = 7  # that a rule is shown beside
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>check of {date}</title>
<style>
 body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 60em }}
 td, th {{ text-align: left; padding: .2em 1em .2em 0; border-bottom: 1px solid #ddd; vertical-align: top }}
 .failed {{ color: #a00; font-weight: bold }}
</style>
<h1>check of {date}: <span class="{word}">{word}</span></h1>
<p>{failed} of {total} rules failed. What each means: docs/night.md. The limits: night.checks_file.</p>
<table><tr><th>rule<th>must be<th>was<th><th>in the nights before, newest first</tr>
{rows}
</table></html>
"""


def write(folder: Path, night: Night, rules: list[CheckRule], results: dict[str, Any]) -> None:
    """Writes report.html and report.json, failed rules first, and results, those of Great Expectations."""
    ordered = sorted(rules, key=lambda rule: rule.passed)
    failed = sum(not rule.passed for rule in rules)
    word, before = "failed" if failed else "passed", history(night)
    rows = "\n".join(_row(rule, before.get(rule.rule, [])) for rule in ordered)
    page = PAGE.format(date=night.date, word=word, failed=failed, total=len(rules), rows=rows)
    report = {"date": night.date, "passed": not failed, "rules": ordered}
    durable.write(folder / "report.html", page.encode())
    durable.write(folder / REPORT, msgspec.json.format(msgspec.json.encode(report)))
    durable.write(folder / "validation.json", json.dumps(results, indent=1, default=str).encode())


def history(night: Night) -> dict[str, list[str]]:
    """Returns what each rule found in the newest nights before, newest first."""
    reports = [path for path in night.folder.parent.glob(f"*/check*/{REPORT}") if path.parts[-3] < night.folder.name]
    found: dict[str, list[str]] = {}
    for path in sorted(reports, reverse=True)[:NIGHTS]:
        for rule in msgspec.json.decode(path.read_bytes())["rules"]:
            found.setdefault(rule["rule"], []).append(rule["value"])
    return found


def _row(rule: CheckRule, before: list[str]) -> str:
    word = ("passed" if rule.asked else "not asked") if rule.passed else "failed"
    cells = "".join(f"<td>{escape(text)}" for text in (rule.rule, rule.limit, rule.value))
    return f'<tr>{cells}<td class="{word}">{word}<td>{escape("; ".join(before))}</tr>'
