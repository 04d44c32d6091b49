"""The label of a model, as a page: the facts box, every fact with its record, the evaluations, the gaps, the score; and
as files: JSON, and a card for the Hugging Face Hub. Reads a label and decides nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Protocol

from commonweal.core.errors import ConfigError, NotFound
from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.labels.card import card, word_of
from commonweal.labels.facts import Evaluation, Fact, Label, Record, all_records
from commonweal.labels.folder import read_any
from commonweal.labels.from_toml import named
from commonweal.labels.json_form import INDEX, dumps, schema_file
from commonweal.labels.questions import BY_KEY, QUESTIONS, SECTIONS
from commonweal.labels.runs import with_runs
from commonweal.labels.score import Score, score
from commonweal.web.pool import addresses as pool
from commonweal.web.site import addresses
from commonweal.web.site.page import MODELS, File, Link, Page
from commonweal.web.site.render import environment
from commonweal.web.site.state import Site

_JSON, _TEXT = "application/json", "text/markdown; charset=utf-8"

SCHEMA = File(path=addresses.LABEL_SCHEMA, data=schema_file(), media_type="application/schema+json")

_SUFFIXES = (".json", ".toml")
_SOURCES = {
    "hub": "the records of the hub that serves it",
    "folder": "the records beside its files",
    "word": "what somebody stated of it",
    "runs": "nothing but the runs that it was measured in",
}


class Labels(Protocol):
    """Where the labels of models are, without their evaluations."""

    def label(self, model: str) -> Label | None: ...


@dataclass(frozen=True, slots=True)
class SavedLabels:
    """Labels that were read from files, by the name of their model."""

    by_name: Mapping[str, Label]

    def label(self, model: str) -> Label | None:
        return self.by_name.get(model)


def read_labels(folder: Path) -> SavedLabels:
    """The labels (JSON, TOML, or models' folders) in a folder. Raises NotFound where it has none, ConfigError for two
    of one model, DataError for one that cannot be read."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder", hint="give a folder of labels (--labels)")
    found: dict[str, Label] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or path.suffix in _SUFFIXES):
            continue
        label = read_any(path)
        if label.model in found:
            raise ConfigError(f"{path}: there is another label of '{label.model}' in {folder}")
        found[label.model] = label
    if not found:
        raise NotFound(f"{folder}: no labels there", hint="NAME.json or NAME.toml")
    return SavedLabels(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record, its number on the page, and where it can be read: a page of this site, another address, or nowhere
    ("")."""

    number: int
    record: Record
    page: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fact as the page has it; ``word`` stands in place of what is not told."""

    key: str
    name: str
    asks: str
    word: str
    fact: Fact
    sources: Sequence[Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One section."""

    key: str
    title: str
    rows: Sequence[Row]
    told: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run; ``page`` is "" where the site does not have it."""

    one: Evaluation
    page: str
    cells: Sequence[AspectCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPage(Page):
    template: ClassVar[str] = "label.html"

    name: str
    source: str
    model: Link
    base: Link | None
    groups: Sequence[Group]
    box: Sequence[tuple[str, Sequence[Row]]]
    records: Sequence[Source]
    runs: Sequence[RunRow]
    aspects: Sequence[str]
    measured: Mapping[str, int]
    gaps: Sequence[tuple[str, str, str]]
    label: Label
    score: Score
    index: str
    json: str
    schema: str
    card: str


_BOOKS = "pool/v1/credits/export"
_POOL_JOB = re.compile(r"job_[0-9a-z]+")

_BOX = (
    ("", ("model.size", "model.licence", "model.base")),
    ("Trained on", ("data.sources", "data.size", "data.licences")),
    ("Taught by", ("alignment.instructions", "alignment.feedback", "alignment.people")),
    ("Compute", ("compute.members", "compute.hours", "compute.tokens", "compute.energy", "compute.carbon")),
    ("Use", ("use.intended", "use.limitations", "use.risks")),
    ("Answers for it", ("accountability.publisher", "accountability.contact")),
)
"""What the facts box shows, line by line."""


def label_of(site: Site, model: str) -> Label:
    """The label of a model with the site's runs of it."""
    saved = None if site.labels is None else site.labels.label(model)
    runs = site.runs_of(model=model)
    label = saved or named(model)
    return with_runs(label, runs) if runs or not label.evaluated else label


def pages(site: Site, model: str) -> Iterator[LabelPage | File]:
    """The label as a page, as JSON and as a card."""
    label = label_of(site, model)
    yield page_of(label, site=site)
    there = addresses.label(model, "json")
    told = dumps(label, schema_at=addresses.relative(there, SCHEMA.path))
    yield File(path=there, data=told.encode("utf-8", "replace"), media_type=_JSON)
    yield File(
        path=addresses.label(model, "md"), data=card(label).encode("utf-8", "replace"), media_type=_TEXT
    )


def page_of(label: Label, *, site: Site | None = None) -> LabelPage:
    """The context of a label; links lead to pages of ``site``, where there is one."""
    records = {
        record: _source(label, number, record, site)
        for number, record in enumerate(all_records(label.facts), 1)
    }
    rows = {question.key: _row(label.fact(question.key), records) for question in QUESTIONS}
    groups = [
        Group(
            key=section,
            title=title,
            rows=[row for key, row in rows.items() if BY_KEY[key].section == section],
            told=sum(
                row.fact.status == "disclosed" for key, row in rows.items() if BY_KEY[key].section == section
            ),
        )
        for section, title in SECTIONS.items()
    ]
    known = site is not None
    return LabelPage(
        path=addresses.label(label.model),
        title=f"Label of {label.model}",
        trail=(MODELS, Link(text=label.model, path=addresses.model(label.model))) if known else (),
        name=label.model,
        source=_SOURCES[label.source],
        model=Link(text=label.model, path=addresses.model(label.model) if known else ""),
        base=_base(label, site),
        groups=groups,
        box=[(title, [rows[key] for key in keys]) for title, keys in _BOX],
        records=list(records.values()),
        runs=[_run(label, one, site) for one in label.evaluations],
        aspects=ASPECTS,
        measured={
            aspect: sum(one.cells[aspect].mean is not None for one in label.evaluations) for aspect in ASPECTS
        },
        gaps=_gaps(label),
        label=label,
        score=score(label),
        index=INDEX,
        json=addresses.label(label.model, "json") if known else "",
        schema=SCHEMA.path if known else "",
        card=addresses.label(label.model, "md") if known else "",
    )


def standing_alone(label: Label) -> str:
    """The page as one file that needs no other: its style is in it."""
    static = resources.files("commonweal.web.site") / "static"
    style = "\n".join((static / name).read_text("utf-8") for name in ("site.css", "label.css"))
    template = environment().get_template("label_alone.html")
    text: str = template.render(page=page_of(label), to=lambda path: path, style=style)
    return text


def _row(fact: Fact, records: Mapping[Record, Source]) -> Row:
    question = BY_KEY[fact.key]
    return Row(
        key=fact.key,
        name=question.name,
        asks=question.asks,
        word=word_of(fact),
        fact=fact,
        sources=[records[record] for record in fact.records],
    )


def _source(label: Label, number: int, record: Record, site: Site | None) -> Source:
    if site is not None:
        if record.kind == "run" and (label.model, record.id) in site.by_place:
            return Source(number=number, record=record, page=addresses.run(label.model, record.id))
        if record.kind == "label" and record.id in site.every_model():
            return Source(number=number, record=record, page=addresses.label(record.id))
        if page := _page_of_the_hub(label, record, site):
            return Source(number=number, record=record, page=page)
    if record.address.startswith(("https://", "http://")):
        return Source(number=number, record=record, address=record.address)
    return Source(number=number, record=record)


def _page_of_the_hub(label: Label, record: Record, site: Site) -> str:
    """Where a record of a hub's is shown to everybody, on that hub; "" for what takes a key, and on an export: there
    the address stands as text."""
    if site.catalogue is None or label.source != "hub":
        return ""
    if record.kind == "model" and record.id in site.every_model():
        return addresses.model(record.id)
    if record.kind == "books":
        return _BOOKS
    if not _POOL_JOB.fullmatch(record.id):
        return ""
    if record.kind == "machines":
        return pool.machines("all", 1)
    if record.kind == "rounds":
        return pool.rounds(record.id, 1)
    return pool.job(record.id) if record.kind in ("job", "data", "weights") else ""


def _base(label: Label, site: Site | None) -> Link | None:
    if label.base is None:
        return None
    there = site is not None and label.base.name in site.every_model()
    return Link(text=label.base.name, path=addresses.label(label.base.name) if there else "")


def _run(label: Label, one: Evaluation, site: Site | None) -> RunRow:
    there = site is not None and (label.model, one.run) in site.by_place
    return RunRow(
        one=one,
        page=addresses.run(label.model, one.run) if there else "",
        cells=[one.cells[aspect] for aspect in ASPECTS],
    )


def _gaps(label: Label) -> list[tuple[str, str, str]]:
    """Run, aspects without a number, and why; those of one reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for gap in label.not_measured:
        found.setdefault((gap.run, gap.reason), []).append(gap.aspect)
    return [(run, ", ".join(aspects), reason) for (run, reason), aspects in found.items()]
