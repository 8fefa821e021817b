"""Draws lines as SVG inside an HTML page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 860, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 15, 45
_TICKS = 5
# Distinguishable with red-green color blindness, too (Okabe and Ito).
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")


@dataclass(frozen=True)
class Line:
    """A named line; both sequences have the same length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def draw_lines(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Return an SVG element; both axes begin at 0."""
    x_max = _round_up(max((value for line in lines for value in line.x), default=1.0))
    y_max = _round_up(max((value for line in lines for value in line.y), default=1.0))
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + width * x / x_max, _TOP + height * (1 - y / y_max)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} against {escape(x_label)}" font-size="12">'
    ]
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x, bottom = place(share * x_max, 0)
        left, y = place(0, share * y_max)
        parts.append(
            f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{left + width:.1f}" y2="{y:.1f}" '
            'stroke="#d5d9de"/>'
            f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{share * y_max:g}</text>'
            f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{share * x_max:g}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}'
        f'</text><text transform="translate(16 {_TOP + height / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    for number, line in enumerate(lines):
        color = _COLORS[number % len(_COLORS)]
        points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        top = _TOP + 12 + 18 * number
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>'
            f'<rect x="{_WIDTH - _RIGHT + 14}" y="{top - 9}" width="12" height="4" fill="{color}"/>'
            f'<text x="{_WIDTH - _RIGHT + 32}" y="{top - 2}">{escape(line.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _round_up(value: float) -> float:
    """Return the next number of the form 1, 2 or 5 times a power of ten; 1 for 0."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-12))
