"""Rows of long tables as HTML, put together as strings: samples in lists, and marks across models.

Owns the markup of these rows, as :mod:`article` owns that of an instance, with the same invariants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from markupsafe import Markup

from commonweal.web.site.comparison import Flip
from commonweal.web.site.disputed import DisputedPage
from commonweal.web.site.listing import MARKS, OUTCOMES, anchor
from commonweal.web.site.samples import Brief
from commonweal.web.site.words import escaped, figure, line

To = Callable[[str], str]

_figure = lru_cache(maxsize=4096)(figure)


@lru_cache(maxsize=16_384)
def _line(text: str, most: int) -> str:
    return escaped(line(text, most))


def sample_rows(briefs: Sequence[Brief], trials: bool = False) -> Markup:
    """A row a sample: its instance (on a page in the same folder), what came of it, input and answer."""
    parts = []
    for brief in briefs:
        form = f" <small>{_line(brief.perturbation, 60)}</small>" if brief.perturbation else ""
        trial = f" <small>trial {brief.trial + 1}</small>" if trials else ""
        failure = f": {_line(brief.failure, 40)}" if brief.failure else ""
        parts.append(
            f"<tr class={brief.outcome}><th scope=row><a href=instances-{brief.shard}.html#{anchor(brief.id)}>"
            f"{_line(brief.id, 40)}</a>{form}{trial}<td>{OUTCOMES[brief.outcome]}{failure}<td>{_figure(brief.value)}"
            f"<td dir=auto>{_line(brief.input, 120)}<td dir=auto>{_line(brief.output, 80)}\n"
        )
    return Markup("".join(parts))


def disputed_rows(page: DisputedPage, to: To) -> Markup:
    """A row an instance: how many were right, a mark for each model, the input."""
    folders = [to(folder) for folder in page.folders]
    parts = []
    for row in page.rows:
        place = f"#{anchor(row.id)}"
        parts.append(f"<tr><th scope=row>{_line(row.id, 40)}<td class=num>{row.right} of {row.asked}")
        parts += [
            "<td>" if brief is None else _mark(brief, f"{folder}/instances-{brief.shard}.html{place}")
            for folder, brief in zip(folders, row.marks, strict=True)
        ]
        parts.append(f"<td class=excerpt dir=auto>{_line(row.input, 90)}\n")
    return Markup("".join(parts))


def _mark(brief: Brief, link: str) -> str:
    outcome = brief.outcome
    shown = _figure(brief.value) if outcome in ("partly", "measured") else MARKS[outcome]
    return f'<td class={outcome}><a href={link} aria-label="{OUTCOMES[outcome]}">{shown}</a>'


def _linked(shown: str, link: str) -> str:
    return f"<a href={link}>{shown}</a>" if link else shown


def flip_rows(rows: Sequence[Flip], to: To) -> Markup:
    """A row an instance that only one of two had right, with both answers."""
    parts = []
    for one in rows:
        left, right = (
            _linked(_line(text, 60) or "(nothing)", to(path) if path else "")
            for text, path in zip(one.outputs, one.paths, strict=True)
        )
        parts.append(
            f"<tr><th scope=row>{_line(one.id, 40)}<td class=excerpt dir=auto>{_line(one.input, 120)}"
            f"<td class=excerpt dir=auto>{left}<td class=excerpt dir=auto>{right}\n"
        )
    return Markup("".join(parts))
