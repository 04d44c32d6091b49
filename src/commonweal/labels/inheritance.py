"""What a model has of the one that it was made of: its answers, by a link to its label. Pure."""

from __future__ import annotations

from dataclasses import replace

from commonweal.labels.facts import Base, Fact, Label, Record
from commonweal.labels.questions import BY_KEY

_SAME = ("model.architecture", "model.input", "model.output", "model.window", "model.parts", "data.tokenizer")
"""What is the base's own where nothing else was told."""


def inherit(label: Label, base: Label | None) -> Label:
    """``label`` with what is told of its base; None where the base's label cannot be seen here.

    Where all that went into a model is asked for, both halves count, its own and the base's: what is told of one half
    alone is told, but not whole.
    """
    assert label.base is not None, "only what was made of another inherits"
    link = label.base
    made = {
        fact.key: _joined(fact, link, None if base is None else base.fact(fact.key)) for fact in label.facts
    }
    return label.with_facts(made)


def _joined(own: Fact, link: Base, other: Fact | None) -> Fact:
    record = Record(kind="label", id=link.name, hash=link.identity, address=link.label)
    if BY_KEY[own.key].inherited:
        return _both(own, link.name, other, record)
    if own.key in _SAME and own.status != "disclosed" and other is not None and other.status == "disclosed":
        return _of_base(own, link.name, other, record)
    return own


def _both(own: Fact, name: str, other: Fact | None, record: Record) -> Fact:
    """The two halves of an answer."""
    if other is None or other.status == "not_disclosed":
        if own.status == "disclosed":
            return replace(own, missing=own.missing or f"that of {name}")
        why = f"the label of {name} cannot be seen" if other is None else f"nor is it of {name}"
        return replace(own, status="not_disclosed", text="", missing=why, records=())
    if other.status == "not_applicable":
        return own
    if own.status != "disclosed":
        missing = "that of its own training" if own.status == "not_disclosed" else ""
        return _of_base(own, name, other, record, missing=missing)
    return replace(
        own,
        text=f"{own.text}; before that, of {name}: {other.text}",
        missing=own.missing or other.missing,
        records=(*own.records, record),
    )


def _of_base(own: Fact, name: str, other: Fact, record: Record, *, missing: str = "") -> Fact:
    text = other.text if other.text.startswith("of ") else f"of {name}: {other.text}"
    return replace(
        other,
        key=own.key,
        text=text,
        method="told by its label",
        missing=missing or other.missing,
        records=(record,),
    )
