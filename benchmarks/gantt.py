"""Draws what happened when, as bars in an SVG."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, LEFT, RIGHT, TOP, ROW = 900, 130, 760, 50, 26
COLOURS = ("#2563eb", "#0d9488")  # in turns
FONT = 'font-family="sans-serif" font-size="13"'


class Bar(NamedTuple):
    label: str
    begin_s: float  # since the first
    end_s: float


def svg(title: str, bars: Sequence[Bar]) -> str:
    """In the order given; each bar says how long it took and its share of the whole."""
    whole_s = max(bar.end_s for bar in bars)
    height = TOP + ROW * len(bars) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="28" font-size="16" fill="#1f2937">{escape(title)}</text>',
        *(part for place, bar in enumerate(bars) for part in _bar(place, bar, whole_s)),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _bar(place: int, bar: Bar, whole_s: float) -> list[str]:
    y, scale = TOP + ROW * place, (RIGHT - LEFT) / whole_s
    x, width = LEFT + bar.begin_s * scale, max((bar.end_s - bar.begin_s) * scale, 1.0)
    took_s = bar.end_s - bar.begin_s
    said = f"{took_s:.1f} s, {took_s / whole_s:.0%}"
    return [
        f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end" fill="#1f2937">{escape(bar.label)}</text>',
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 6}" fill="{COLOURS[place % 2]}"/>',
        f'<text x="{x + width + 6:.1f}" y="{y + 15}" fill="#6b7280">{said}</text>',
    ]
