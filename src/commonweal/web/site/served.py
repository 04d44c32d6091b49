"""What a page shows of a model that the hub serves: facts, card, and the lineage as a picture and a table.

Pure, and only made where a hub is: a site without one imports nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from commonweal.labels.lineage import Lineage
from commonweal.labels.lineage_steps import Facts, Step
from commonweal.labels.publisher import publisher_told
from commonweal.ledger.amounts import shown
from commonweal.serve.catalogue import ServedModel
from commonweal.web.pool import addresses as pool
from commonweal.web.site import addresses
from commonweal.web.site.card import Card
from commonweal.web.site.lineage_chart import WORDS, chart, named
from commonweal.web.site.page import Link

TEXT = 6_000
"""Characters of a card's text that a page shows."""

_SHORT = 800
_HEAD = ("language", "datasets", "base_model", "pipeline_tag")
_API = {"ftjob": "v1/fine_tuning/jobs/", "imp": "v1/community/improvements/", "ds": "v1/community/datasets/"}
"""Where a record is to be had with a key, by what its id begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A step of the lineage as the table has it. ``api`` is where its record is to be had with a key, "" for none;
    ``said`` tells that it leads to the model by its publisher's word."""

    kind: str
    step: Link
    day: str
    hash: str
    facts: Facts
    sources: Sequence[str]
    api: str
    said: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """``text`` is the card's, in part where ``cut``, and folded up where ``long``; ``latest`` is another model that
    NAME:latest answers as."""

    facts: Facts
    licence: str
    text: str
    cut: bool
    long: bool
    identity: str
    files: Facts
    latest: Link | None
    chat: str
    steps: Sequence[Ancestor]
    gaps: Sequence[str]
    chart: Markup


def served(model: ServedModel, card: Card, lineage: Lineage, latest: str) -> Served:
    head = [(name.replace("_", " "), ", ".join(card.head[name])) for name in _HEAD if name in card.head]
    return Served(
        facts=(*_facts(model), *head),
        licence=card.licence or ("in its file LICENSE" if "LICENSE" in model.files else ""),
        text=card.text[:TEXT],
        cut=len(card.text) > TEXT,
        long=len(card.text) > _SHORT,
        identity=model.identity,
        files=tuple(sorted(model.files.items())),
        latest=None if latest == model.name else Link(text=latest, path=addresses.model(latest)),
        chat=f"chat?model={model.name}",
        steps=[_ancestor(lineage, step) for step in lineage.steps],
        gaps=lineage.gaps,
        chart=chart(lineage),
    )


def _facts(model: ServedModel) -> Facts:
    read, written = (shown(1000 * price) for price in (model.price_in, model.price_out))
    told = [
        ("published", f"by {publisher_told(model)}, {day(model.created)}"),
        ("an adapter on", model.base or ""),
        ("parameters", f"{model.parameters:,}"),
        ("window", f"{model.window:,} tokens"),
        ("quantization", model.quantization),
        ("price", f"{read} credits for a million tokens read, {written} written"),
    ]
    return tuple((name, value) for name, value in told if value)


def _ancestor(lineage: Lineage, step: Step) -> Ancestor:
    return Ancestor(
        kind=WORDS[step.kind],
        step=Link(text=step.name, path=_page(lineage, step)),
        day="" if step.at is None else day(step.at),
        hash=step.hash,
        facts=step.facts,
        sources=[named(before) for before in lineage.before(step.key)],
        api=_api(step.id),
        said=step.word == "publisher",
    )


def _page(lineage: Lineage, step: Step) -> str:
    """The page of a step; "" where there is none, or it is this one."""
    if step.pool_job:
        return pool.job(step.pool_job)
    return addresses.model(step.id) if step.kind == "model" and step.id not in ("", lineage.model) else ""


def _api(record: str) -> str:
    kind, line, _ = record.partition("_")
    return f"{_API[kind]}{record}" if line and kind in _API else ""


def day(at: float) -> str:
    """
    >>> day(0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
