"""Draws a line chart as SVG: the environment has no plotting library, and we need no more than this."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 650, 50, 460  # of the frame; the legend stands to its right
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
TICKS = 6
GREY = "#6b7280"
FONT = 'font-family="sans-serif" font-size="13"'


class Line(NamedTuple):
    label: str
    y: Sequence[float]
    colour: str
    dashes: str = "none"  # such as "6 4"
    half_width: Sequence[float] = ()  # of the band around it


class _Scale(NamedTuple):
    x_max: float
    y_max: float

    def point(self, x: float, y: float) -> str:
        right = LEFT + (RIGHT - LEFT) * x / self.x_max
        return f"{right:.1f},{BOTTOM - (BOTTOM - TOP) * y / self.y_max:.1f}"


def svg(title: str, x_label: str, y_label: str, x: Sequence[float], lines: Sequence[Line]) -> str:
    """Both axes begin at 0; the legend has the order of the lines."""
    tops = [np.max(np.add(line.y, line.half_width if len(line.half_width) else 0.0)) for line in lines]
    scale = _Scale(float(max(x)), _ticks(float(max(tops)))[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 28, title, "start", 'font-size="16"'),
        _text((LEFT + RIGHT) / 2, HEIGHT - 18, x_label, "middle"),
        _text(0, 0, y_label, "middle", f'transform="translate(18 {(TOP + BOTTOM) / 2}) rotate(-90)"'),
        *_axes(scale),
        *(_band(scale, x, line) for line in lines if len(line.half_width)),
        *(_path(scale, x, line) for line in lines),
        *(part for place, line in enumerate(lines) for part in _legend(place, line)),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _ticks(highest: float) -> list[float]:
    """0, and round numbers up to the first that is not below the highest."""
    rough = highest / TICKS
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * each for each in STEPS if unit * each >= rough)
    return [float(n * step) for n in range(int(np.ceil(highest / step - 1e-9)) + 1)]


def _axes(scale: _Scale) -> list[str]:
    across = [(scale.point(0, y), scale.point(scale.x_max, y), y) for y in _ticks(scale.y_max)]
    grid = [f'<polyline points="{start} {end}" stroke="#e5e7eb"/>' for start, end, _ in across]
    heights = [_text(LEFT - 8, float(start.split(",")[1]) + 4, f"{y:,g}", "end") for start, _, y in across]
    along = [x for x in _ticks(scale.x_max) if x <= scale.x_max]
    places = [_text(float(scale.point(x, 0).split(",")[0]), BOTTOM + 20, f"{x:,.0f}", "middle") for x in along]
    corner = f"{LEFT},{TOP} {LEFT},{BOTTOM} {RIGHT},{BOTTOM}"
    return [*grid, f'<polyline points="{corner}" fill="none" stroke="{GREY}"/>', *heights, *places]


def _band(scale: _Scale, x: Sequence[float], line: Line) -> str:
    high, low = np.add(line.y, line.half_width), np.maximum(np.subtract(line.y, line.half_width), 0.0)
    there, back = map(scale.point, x, high), reversed([*map(scale.point, x, low)])
    return f'<polygon points="{" ".join([*there, *back])}" fill="{line.colour}" opacity="0.13"/>'


def _path(scale: _Scale, x: Sequence[float], line: Line) -> str:
    points = " ".join(map(scale.point, x, line.y))
    return f'<polyline points="{points}" fill="none" stroke-width="1.8" {_stroke(line)}/>'


def _legend(place: int, line: Line) -> list[str]:
    y = TOP + 10 + 22 * place
    sample = f'<polyline points="{RIGHT + 15},{y} {RIGHT + 45},{y}" stroke-width="2.2" {_stroke(line)}/>'
    return [sample, _text(RIGHT + 52, y + 4, line.label, "start")]


def _stroke(line: Line) -> str:
    return f'stroke="{line.colour}" stroke-dasharray="{line.dashes}"'


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="#1f2937" {more}>{escape(words)}</text>'
