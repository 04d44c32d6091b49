"""A label as JSON, and read back: the form that files hold and a hub answers, described by ``label.schema.json``.

The score and the counts stand in it for readers; read back they are reckoned anew. What is read may be a stranger's:
whatever is wrong with it is a DataError that names the place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from commonweal.core.errors import DataError
from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.labels.facts import (
    VERSION,
    Base,
    Evaluation,
    Fact,
    Gap,
    Label,
    Record,
    RecordKind,
    Status,
)
from commonweal.labels.questions import BY_KEY, QUESTIONS
from commonweal.labels.score import Part, score

FORMAT = f"commonweal-label-{VERSION}"
SCHEMA_ID = f"urn:commonweal:label:{VERSION}"
INDEX = "Foundation Model Transparency Index, October 2023 (arXiv:2310.12941)"
_LARGEST = 16 * 2**20


def to_json(label: Label, *, schema_at: str = SCHEMA_ID) -> dict[str, Any]:
    """Plain JSON that :func:`from_json` reads back. ``schema_at`` is where its schema can be read; else its name."""
    counted = score(label)
    return {
        "$schema": schema_at,
        "format": FORMAT,
        "model": label.model,
        "source": label.source,
        "base": None if label.base is None else asdict(label.base),
        "facts": [_fact_json(fact) for fact in label.facts],
        "evaluations": [_evaluation_json(one) for one in label.evaluations],
        "gaps": {
            "evaluated": label.evaluated,
            "not_run": list(label.not_run),
            "not_measured": [asdict(gap) for gap in label.not_measured],
        },
        "counts": {
            "disclosed": counted.facts_told,
            "not_disclosed": counted.facts_untold,
            "not_applicable": counted.facts_not_applicable,
        },
        "score": {
            "index": INDEX,
            **_part_json(counted.whole),
            "domains": {domain: _part_json(part) for domain, part in counted.parts.items()},
        },
    }


def dumps(label: Label, *, schema_at: str = SCHEMA_ID) -> str:
    """The text of a label file."""
    return json.dumps(to_json(label, schema_at=schema_at), indent=1, ensure_ascii=False) + "\n"


@cache
def schema_file() -> bytes:
    """The JSON Schema of a label, as it is given out."""
    return (resources.files("commonweal.labels") / "label.schema.json").read_bytes()


@cache
def schema() -> dict[str, Any]:
    """The same, read."""
    found: dict[str, Any] = json.loads(schema_file())
    return found


def read_label(file: Path) -> Label:
    """A label file. Raises DataError."""
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError(f"{file}: is larger than {_LARGEST:,} bytes", hint="a label needs no more")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    return from_json(value, where=str(file))


def from_json(value: Any, *, where: str) -> Label:
    """Read :func:`to_json` back. Raises DataError."""
    try:
        return _label(value, where)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{where}: not a label: {type(error).__name__}: {error}") from None


def _label(value: Mapping[str, Any], where: str) -> Label:
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        told = value.get("format") if isinstance(value, Mapping) else type(value).__name__
        raise DataError(
            f"{where}: not a label of this release ({FORMAT}): {str(told)[:60]!r}", hint="make it again"
        )
    facts = {fact.key: fact for fact in map(_fact, value["facts"])}
    if unknown := facts.keys() - BY_KEY.keys():
        raise DataError(f"{where}: facts: unknown question '{min(unknown)[:60]}'")
    gaps = value["gaps"]
    return Label(
        model=_text(value["model"]),
        source=_one_of(value["source"], ("hub", "folder", "word", "runs")),
        base=None if value["base"] is None else Base(**_texts(value["base"])),
        facts=tuple(facts.get(one.key, Fact(key=one.key)) for one in QUESTIONS),
        evaluated=bool(gaps["evaluated"]),
        evaluations=tuple(map(_evaluation, value["evaluations"])),
        not_run=tuple(map(_text, gaps["not_run"])),
        not_measured=tuple(Gap(**_texts(gap)) for gap in gaps["not_measured"]),
    )


def _fact_json(fact: Fact) -> dict[str, Any]:
    question = BY_KEY[fact.key]
    return {
        "key": fact.key,
        "name": question.name,
        "asks": question.asks,
        "status": fact.status,
        "text": fact.text,
        "value": fact.value,
        "method": fact.method,
        "missing": fact.missing,
        "records": [asdict(record) for record in fact.records],
    }


def _fact(value: Mapping[str, Any]) -> Fact:
    return Fact(
        key=_text(value["key"]),
        status=_one_of(value["status"], get_args(Status)),
        text=_text(value["text"]),
        value=value["value"],
        method=_text(value["method"]),
        missing=_text(value["missing"]),
        records=tuple(map(_record, value["records"])),
    )


def _record(value: Mapping[str, Any]) -> Record:
    told = _texts(value)
    _one_of(told["kind"], get_args(RecordKind))
    return Record(**told)


def _evaluation_json(one: Evaluation) -> dict[str, Any]:
    plain = asdict(one)
    return {**plain, "cells": {aspect: asdict(cell) for aspect, cell in one.cells.items()}}


def _evaluation(value: Mapping[str, Any]) -> Evaluation:
    names = ("run", "scenario", "title", "metric", "status", "updated", "command")
    return Evaluation(
        **{name: _text(value[name]) for name in names},
        scored=int(value["scored"]),
        expected=int(value["expected"]),
        misuse=bool(value["misuse"]),
        joules=_number(value["joules"]),
        energy=_text(value["energy"]),
        main=_cell(value["main"]),
        cells={aspect: _cell(value["cells"][aspect]) for aspect in ASPECTS},
        record=_record(value["record"]),
    )


def _cell(value: Mapping[str, Any]) -> AspectCell:
    numbers = {name: _number(value[name]) for name in ("mean", "low", "high")}
    return AspectCell(stat=_text(value["stat"]), n=int(value["n"]), reason=_text(value["reason"]), **numbers)


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "disclosed": len(part.told),
        "asked": part.asked,
        "indicators": {
            "disclosed": list(part.told),
            "not_disclosed": list(part.untold),
            "not_applicable": list(part.not_applicable),
        },
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _texts(value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _text(one) for name, one in value.items()}


def _one_of(value: Any, known: Sequence[str]) -> Any:
    if value not in known:
        raise ValueError(f"{str(value)[:60]!r} is not one of {', '.join(known)}")
    return value
