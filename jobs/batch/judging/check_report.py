"""A night's check as a self-contained page for people, and as JSON for programs."""

from datetime import date
from html import escape
from pathlib import Path

import msgspec

from headrace.infra import durable
from headrace.jobs.batch.judging.expectations import CheckRule

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>check of {date}</title>
<style>
 body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 60em }}
 td, th {{ text-align: left; padding: .2em 1em .2em 0; border-bottom: 1px solid #ddd; vertical-align: top }}
 .failed {{ color: #a00; font-weight: bold }}
</style>
<h1>check of {date}: <span class="{word}">{word}</span></h1>
<p>{failed} of {total} rules failed. What each means: docs/night.md. The limits: night.checks_file.</p>
<table><tr><th>rule<th>must be<th>was<th></tr>
{rows}
</table></html>
"""


def write(folder: Path, day: date, rules: list[CheckRule]) -> None:
    """Writes report.html and report.json, failed rules first."""
    ordered = sorted(rules, key=lambda rule: rule.passed)
    failed = sum(not rule.passed for rule in rules)
    word = "failed" if failed else "passed"
    rows = "\n".join(map(_row, ordered))
    page = PAGE.format(date=day, word=word, failed=failed, total=len(rules), rows=rows)
    report = {"date": day, "passed": not failed, "rules": ordered}
    durable.write(folder / "report.html", page.encode())
    durable.write(folder / "report.json", msgspec.json.format(msgspec.json.encode(report)))


def _row(rule: CheckRule) -> str:
    word = ("passed" if rule.asked else "not asked") if rule.passed else "failed"
    cells = "".join(f"<td>{escape(text)}" for text in (rule.rule, rule.limit, rule.value))
    return f'<tr>{cells}<td class="{word}">{word}</tr>'
