"""A line chart as a small SVG: logarithmic or linear axes, a line a series, a legend; no library."""

from __future__ import annotations

import math
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 64, 48, 32, 176
COLOURS = ("#1b6ca8", "#c4501b", "#2f7d32", "#6a3d9a", "#8a6d00")
TICKS = 5


class Series(NamedTuple):
    """One line: its name and its points."""

    name: str
    points: list[tuple[float, float]]


def chart(title: str, x_name: str, y_name: str, series: list[Series], *, log_y: bool = False) -> str:
    """Draw a chart; with ``log_y`` values up the side are powers of ten apart."""
    xs = [x for one in series for x, _ in one.points]
    ys = [max(y, 0.001) if log_y else y for one in series for _, y in one.points]
    low = 10 ** math.floor(math.log10(min(ys))) if log_y else 0.0
    high = 10 ** math.ceil(math.log10(max(ys))) if log_y else max(ys) * 1.1 or 1.0
    most = max(xs) or 1.0

    def across(x: float) -> float:
        return LEFT + x / most * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        share = math.log(max(y, low) / low) / math.log(high / low) if log_y else y / high
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    steps = round(math.log10(high / low)) if log_y else TICKS
    marks = [low * 10**n if log_y else high * n / TICKS for n in range(steps + 1)]
    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for y in marks:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.0f}" y2="{up(y):.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 4:.0f}" text-anchor="end">{y:.3g}</text>')
    parts += [
        f'<text x="{across(x):.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
        for x in sorted(set(xs))
    ]
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
    )
    parts.append(
        f'<text transform="translate(14 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>'
    )
    for at, one in enumerate(series):
        colour = COLOURS[at % len(COLOURS)]
        line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in one.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in one.points]
        parts.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 16 + 18 * at}" fill="{colour}">{escape(one.name)}</text>'
        )
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{inside}\n</svg>\n'
    )
