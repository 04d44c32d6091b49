"""Lines over rounds as SVG, made of numbers alone: a curve with its axes, for those who have no script, or print.

A table with the same numbers stands beside each; the chart has a title for readers of screens. Colours come from the
style sheet by class, and lines differ by their dashes too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from commonweal.web.site.words import line

WIDE, HIGH = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 26
_MOST = 400
"""More points than that cannot be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """``kind`` is a class of the style sheet: a, b or c. ``points`` are (x, y) with x rising."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def lines(title: str, series: Sequence[Series], *, across: str, counts: bool = False) -> Markup:
    """A chart of the series; "" where none has a point. ``across`` says what x is. What is counted (``counts``) begins
    at 0, and has no halves."""
    shown = [one for one in series if one.points]
    if not shown:
        return Markup("")
    xs = [x for one in shown for x, _ in one.points]
    ys = [y for one in shown for _, y in one.points] + ([0.0] if counts else [])
    left, right = min(xs), max(xs)
    ticks = nice_ticks(min(ys), max(max(ys), 1.0) if counts else max(ys), whole=counts)
    low, high = min(ticks[0], *ys), max(ticks[-1], *ys)

    def x_of(x: float) -> float:
        return round(_LEFT + (WIDE - _LEFT - _RIGHT) * (x - left) / ((right - left) or 1), 1)

    def y_of(y: float) -> float:
        return round(HIGH - _BOTTOM - (HIGH - _TOP - _BOTTOM) * (y - low) / ((high - low) or 1), 1)

    made = [
        f'<svg class="chart lines" viewBox="0 0 {WIDE} {HIGH}" role=img><title>{escape(line(title, 200))}</title>'
    ]
    for tick in ticks:
        y = y_of(tick)
        made.append(f'<line class=grid x1="{_LEFT}" y1="{y}" x2="{WIDE - _RIGHT}" y2="{y}"/>')
        made.append(f'<text class=value x="{_LEFT - 6}" y="{y + 4}">{_short(tick)}</text>')
    made.append(f'<text x="{_LEFT}" y="{HIGH - 6}">{escape(across)} {left:,.0f}</text>')
    if right > left:
        made.append(f'<text class=value x="{WIDE - _RIGHT}" y="{HIGH - 6}">{right:,.0f}</text>')
    for one in shown:
        made.append(_series(one, x_of, y_of))
    made.append("</svg>")
    return Markup("".join(made))


def nice_ticks(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``.

    >>> nice_ticks(0, 2, whole=True)
    [0.0, 1.0, 2.0]
    >>> nice_ticks(0, 10), nice_ticks(2.1, 6.9), nice_ticks(3, 3)
    ([0.0, 5.0, 10.0], [2.0, 4.0, 6.0, 8.0], [2.0, 2.5, 3.0, 3.5, 4.0])
    """
    if high <= low:
        low, high = low - 1, low + 1
    rough = (high - low) / (most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(n * unit for n in (1, 2, 5, 10) if n * unit >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _series(one: Series, x_of: object, y_of: object) -> str:
    assert callable(x_of)
    assert callable(y_of)
    step = -(-len(one.points) // _MOST)
    kept = [*one.points[:-1:step], one.points[-1]]
    path = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in kept)
    made = f'<polyline class="{one.kind}" points="{path}"/>'
    if one.dots or len(kept) == 1:
        made += "".join(
            f'<circle class="{one.kind}" cx="{x_of(x)}" cy="{y_of(y)}" r="2.5"/>' for x, y in kept[-60:]
        )
    return f"<g><title>{escape(line(one.name))}</title>{made}</g>"


def _short(value: float) -> str:
    """
    >>> _short(0.0), _short(2.5), _short(1200.0), _short(0.25)
    ('0', '2.5', '1,200', '0.25')
    """
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
