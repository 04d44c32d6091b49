"""Charts as SVG, made of numbers alone: bars and differences with their intervals.

A table with the same numbers stands beside each; the chart has a title for readers of screens. Colours come from the
style sheet by class. No text from outside gets into the markup unescaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from commonweal.web.site.words import figure, interval, line, signed

_WIDE, _ROW, _VALUE, _EDGE = 440, 36, 52, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """``low`` and ``high`` are its interval; ``strong`` sets it apart from the others."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    strong: bool = True


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars from 0, each with its interval as a line; "" for none. Negative values go to the left."""
    if not rows:
        return Markup("")
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    least, most = min(0.0, *ends), max(0.0, *ends)
    if least >= 0 and most <= 1:  # shares are seen against the whole
        most = 1.0
    return _chart(title, rows, least, most, dots=False)


def differences(title: str, rows: Sequence[Bar]) -> Markup:
    """A dot and its interval a row, about a line at 0, as far to either side."""
    if not rows:
        return Markup("")
    far = max(abs(end) for row in rows for end in (row.value, row.low, row.high) if end is not None) or 1.0
    return _chart(title, rows, -far, far, dots=True)


def _chart(title: str, rows: Sequence[Bar], least: float, most: float, *, dots: bool) -> Markup:
    span = (most - least) or 1.0
    wide = _WIDE - _VALUE - 2 * _EDGE

    def x(value: float) -> float:
        return round(_EDGE + wide * (value - least) / span, 1)

    height = _ROW * len(rows) + 8
    made = [
        f'<svg class=chart viewBox="0 0 {_WIDE} {height}" role=img>'
        f"<title>{escape(title)}</title>"
        f'<line class=axis x1="{x(0)}" y1="2" x2="{x(0)}" y2="{height - 6}"/>'
    ]
    for number, row in enumerate(rows):
        made.append(_row(row, number * _ROW + 4, x, dots=dots))
    made.append("</svg>")
    return Markup("".join(made))


def _row(row: Bar, y: int, x: object, *, dots: bool) -> str:
    assert callable(x)
    zero, end, middle = x(0), x(row.value), y + 23
    kind = "strong" if row.strong else "weak"
    told = f"{row.name}: {figure(row.value)}"
    if row.low is not None and row.high is not None:
        told += f", {interval(row.low, row.high)}"
    parts = [
        f'<g class="{kind}"><title>{escape(line(told))}</title>',
        f'<text x="{_EDGE + 4}" y="{y + 12}">{escape(line(row.name, 56))}</text>',
    ]
    if not dots:
        width = max(0.5, abs(end - zero))
        parts.append(f'<rect x="{min(zero, end)}" y="{y + 17}" width="{width:.1f}" height="12"/>')
    if row.low is not None and row.high is not None:
        parts.append(
            f'<line class=whisker x1="{x(row.low)}" y1="{middle}" x2="{x(row.high)}" y2="{middle}"/>'
        )
    if dots:
        parts.append(f'<circle cx="{end}" cy="{middle}" r="4"/>')
    shown = signed(row.value) if dots else figure(row.value)
    parts.append(f'<text class=value x="{_WIDE - 2}" y="{y + 27}">{shown}</text></g>')
    return "".join(parts)
