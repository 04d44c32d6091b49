"""What a label is: one fact for each question, the evaluations, the gaps; each fact with the records that it is from.

Pure data. Invariants: a label answers every question of :mod:`commonweal.labels.questions` once, in their order; what
nobody told is there as 'not disclosed'; a fact that is told names a record or says that it is somebody's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from commonweal.core.errors import CommonwealError
from commonweal.evals.aspects import Aspect, AspectCell
from commonweal.labels.questions import QUESTIONS

VERSION = 1

Status = Literal["disclosed", "not_disclosed", "not_applicable"]
RecordKind = Literal[
    "model",
    "job",
    "rounds",
    "books",
    "data",
    "weights",
    "file",
    "tuning",
    "dataset",
    "improvement",
    "promotion",
    "run",
    "label",
    "machines",
    "word",
    "address",
]
"""``word`` is what somebody stated, ``address`` a page of somebody else's, ``label`` another model's label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a fact is from. ``hash`` is of the record's content ("" where it has none), ``address`` where it can be
    read: a path on the hub (from "/"), a path of the site, a file's name, or a URL."""

    kind: RecordKind
    id: str
    hash: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The answer to a question. ``text`` is for people and ``value`` for programs; ``method`` says how it is known
    where it was not simply read, ``missing`` what a whole answer would have besides."""

    key: str
    status: Status = "not_disclosed"
    text: str = ""
    value: Any = None
    method: str = ""
    missing: str = ""
    records: tuple[Record, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all that was asked is told."""
        return self.status == "disclosed" and not self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One saved run of the model: its main number, its seven cells, and the record that they are from. ``misuse``: it
    asks for help in what does harm. ``joules`` are those of all its answers, and ``energy`` how they were measured, or
    why they were not."""

    run: str
    scenario: str
    title: str
    metric: str
    status: str
    scored: int
    expected: int
    updated: str
    command: str
    misuse: bool
    joules: float | None
    energy: str
    main: AspectCell
    cells: Mapping[Aspect, AspectCell]
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """An aspect that a run has no number for, and why."""

    run: str
    aspect: Aspect
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model that this one was made of. ``label`` is where its label is, "" where that cannot be seen."""

    name: str
    identity: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """``source`` says what it was made from: a hub's records, the records beside a checkpoint, somebody's word (a
    TOML file), or runs alone. ``evaluated`` is whether runs were looked for at all: without, the gaps say nothing."""

    version: int = VERSION
    model: str
    source: Literal["hub", "folder", "word", "runs"]
    facts: tuple[Fact, ...]
    base: Base | None = None
    evaluated: bool = False
    evaluations: tuple[Evaluation, ...] = ()
    not_run: tuple[str, ...] = ()
    not_measured: tuple[Gap, ...] = ()

    def fact(self, key: str) -> Fact:
        return next(fact for fact in self.facts if fact.key == key)

    def by_key(self) -> dict[str, Fact]:
        return {fact.key: fact for fact in self.facts}

    def with_facts(self, facts: Mapping[str, Fact]) -> Label:
        """The same with some of the answers replaced."""
        return replace(self, facts=tuple(facts.get(fact.key, fact) for fact in self.facts))


def told(
    key: str, text: str, *records: Record, value: Any = None, method: str = "", missing: str = ""
) -> Fact:
    """A fact that is disclosed; without a value its text is that."""
    return Fact(
        key=key,
        status="disclosed",
        text=text,
        value=text if value is None else value,
        method=method,
        missing=missing,
        records=records,
    )


def not_applicable(key: str, text: str, *records: Record) -> Fact:
    """A question that this model does not have; ``text`` says why."""
    return Fact(key=key, status="not_applicable", text=text, records=records)


def as_far_as_told(*parts: Iterable[Fact]) -> Iterator[Fact]:
    """The facts of each part, as far as its record has what they are made of: a specification is whatever its submitter
    sent, and a part that cannot be read must not cost the others."""
    for part in parts:
        try:
            yield from part
        except (CommonwealError, LookupError, TypeError, ValueError, AttributeError):
            continue


@dataclass(slots=True)
class Facts:
    """Facts while they are gathered: what was told first counts, and ``all`` answers every question."""

    found: dict[str, Fact] = field(default_factory=dict)

    def add(self, *facts: Fact | None) -> None:
        for fact in facts:
            if fact is not None and fact.status != "not_disclosed":
                self.found.setdefault(fact.key, fact)

    def all(self) -> tuple[Fact, ...]:
        return tuple(self.found.get(question.key, Fact(key=question.key)) for question in QUESTIONS)


def all_records(facts: Sequence[Fact]) -> list[Record]:
    """The records of some facts, each once."""
    return list(dict.fromkeys(record for fact in facts for record in fact.records))
