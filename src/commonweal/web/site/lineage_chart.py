"""The lineage of a model as SVG: a row a step, from the data above to what was made of the model below. A step stands
to the right of all that it comes from, and a line leads there. A table with the same stands beside it.

As with all charts no text gets into the markup unescaped, and colours come from the style sheet by class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from commonweal.web.site.words import line

if TYPE_CHECKING:
    from commonweal.labels.lineage import Lineage
    from commonweal.labels.lineage_steps import Kind, Step

_WIDE, _ROW, _LANE, _EDGE, _CORNER = 440, 30, 18, 10, 8
_CHARACTER = 6.6
"""The width of a letter of the chart's text, roughly, in the chart's unit."""

WORDS: Mapping[Kind, str] = {
    "data": "data",
    "feedback": "feedback",
    "training": "training",
    "tuning": "fine-tuning",
    "checkpoint": "checkpoint",
    "model": "model",
    "improvement": "improvement",
}


def chart(lineage: Lineage) -> Markup:
    """The picture; "" where the model stands alone."""
    if len(lineage.steps) < 2:
        return Markup("")
    lanes = lanes_of(lineage)
    rows = {step.key: number for number, step in enumerate(lineage.steps)}
    start = 2 * _EDGE + _LANE * max(lanes.values()) + 10
    height = _ROW * len(rows)

    def x(key: str) -> int:
        return _EDGE + _LANE * lanes[key]

    def y(key: str) -> int:
        return _ROW * rows[key] + _ROW // 2

    made = [
        f'<svg class=chart viewBox="0 0 {_WIDE} {height}" role=img>'
        f"<title>{escape(line(f'Where {lineage.model} comes from, and what came of it', 200))}</title>"
    ]
    made += [_way(x(a), y(a), x(b), y(b)) for a, b in lineage.ways]
    made += [_step(step, x(step.key), y(step.key), start, lineage.model) for step in lineage.steps]
    return Markup("".join([*made, "</svg>"]))


def lanes_of(lineage: Lineage) -> dict[str, int]:
    """How far to the right each step stands: one further than the furthest that it comes from."""
    lanes: dict[str, int] = {}
    for step in lineage.steps:
        before = [lanes[first] for first, then in lineage.ways if then == step.key and first in lanes]
        lanes[step.key] = max(before, default=-1) + 1
    return lanes


def named(step: Step) -> str:
    """What a step is and what it is called, in a few words."""
    return f"{WORDS[step.kind]}: {step.name}"


def _way(x: int, y: int, to_x: int, to_y: int) -> str:
    return (
        f'<path class=way d="M{x} {y}V{to_y - _CORNER}Q{x} {to_y} {min(x + _CORNER, to_x)} {to_y}H{to_x}"/>'
    )


def _step(step: Step, x: int, y: int, start: int, model: str) -> str:
    strong = step.kind == "model" and step.name == model
    told = named(step)
    name = escape(line(told, int((_WIDE - start) / _CHARACTER)))
    return (
        f'<g class="{step.kind}{" strong" if strong else ""}"><title>{escape(line(told, 200))}</title>'
        f'{_mark(step.kind, x, y, strong=strong)}<text x="{start}" y="{y + 4}">{name}</text></g>'
    )


def _mark(kind: Kind, x: int, y: int, *, strong: bool) -> str:
    if kind in ("data", "feedback"):
        return f'<rect x="{x - 5}" y="{y - 5}" width="10" height="10"/>'
    if kind == "improvement":
        return f'<path class=mark d="M{x} {y - 6}L{x + 6} {y}L{x} {y + 6}L{x - 6} {y}Z"/>'
    radius = 7 if strong else 4 if kind == "checkpoint" else 5
    return f'<circle cx="{x}" cy="{y}" r="{radius}"/>'
