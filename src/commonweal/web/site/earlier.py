"""Two runs of one model on the same questions: the newest, and one that was made before it.

What was done otherwise (adapter, data, version, seed) stands beside what came of it: the paired difference, and the
instances that flipped. Of the earlier run only this is shown; the way leads to the instances of the newest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.evals.placeless import placeless
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.web.site import addresses
from commonweal.web.site.comparison import FLIPS, Flip
from commonweal.web.site.listing import anchor, way
from commonweal.web.site.page import Link, Page
from commonweal.web.site.samples import Brief, RunSamples, natural
from commonweal.web.site.scored import ScoredRun, when
from commonweal.web.site.state import Site

_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPage(Page):
    """``changed`` are what was done otherwise: its name, before and now. ``sides`` are the instances that were right
    before alone, and now alone, and how many there are of each."""

    template: ClassVar[str] = "earlier.html"

    run: Link
    dates: tuple[str, str]
    changed: Sequence[tuple[str, str, str]]
    metric: str
    compared: Compared
    sides: Sequence[tuple[str, Sequence[Flip], int]]


def pages(site: Site, run: ScoredRun) -> Iterator[EarlierPage]:
    for number in range(1, len(site.earlier(run)) + 1):
        made = page(site, run, number)
        assert made is not None
        yield made


def page(site: Site, run: ScoredRun, number: int) -> EarlierPage | None:
    """The newest run of a name against the one ``number`` runs before it. Raises DataError."""
    earlier = site.earlier(run)
    if not 1 <= number <= len(earlier):
        return None
    before = earlier[number - 1]
    [compared] = compare([before], [run])
    here = Link(text="Run", path=addresses.run(run.model, run.name))
    return EarlierPage(
        path=addresses.earlier(run.model, run.name, number),
        title=f"{run.name}, {run.model}: against the run of {when(before)}",
        trail=(*way(run), here),
        run=Link(text=run.name, path=here.path),
        dates=(when(before), when(run)),
        changed=list(_changed(before.run, run.run)),
        metric=run.main_metric,
        compared=compared,
        sides=_sides(site, before, run, compared),
    )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    old, new = _told(before), _told(now)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield name, _said(old.get(name)), _said(new.get(name))


def _told(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was done with, one level deep."""
    spec = dict(run["spec"])
    adaptation = spec.pop("adaptation", None) or {}
    return {
        **{str(name).replace("_", " "): value for name, value in adaptation.items()},
        **{str(name).replace("_", " "): value for name, value in spec.items()},
        "endpoint": run.get("endpoint"),
        "answered by": run.get("answered_by"),
        "environment": run.get("environment"),
    }


def _said(value: Any) -> str:
    if value is None or value == "":
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = placeless(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _sides(
    site: Site, before: ScoredRun, run: ScoredRun, compared: Compared
) -> list[tuple[str, Sequence[Flip], int]]:
    if compared.flips is None:
        return []
    left, right = (
        {brief.id: brief for brief in reversed(samples.digest.originals)}
        for samples in (RunSamples(before), site.samples(run))
    )
    return [
        (title, [_flip(run, left[key], right[key]) for key in sorted(keys, key=natural)[:FLIPS]], len(keys))
        for title, keys in zip(("before", "now"), compared.flips, strict=True)
    ]


def _flip(run: ScoredRun, before: Brief, now: Brief) -> Flip:
    path = f"{addresses.shard(run.model, run.name, now.shard)}#{anchor(now.id)}"
    return Flip(id=now.id, input=now.input, outputs=(before.output, now.output), paths=("", path))
