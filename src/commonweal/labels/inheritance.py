"""What a model has of the one that it was made of: its answers, by a link to its label. Pure."""

from __future__ import annotations

from dataclasses import replace

from commonweal.labels.facts import Base, Fact, Label, Record
from commonweal.labels.questions import BY_KEY

_SAME = ("model.architecture", "model.input", "model.output", "model.window", "model.parts", "data.tokenizer")
"""What is the base's own where nothing else was told."""


def inherit(label: Label, base: Label | None) -> Label:
    """``label`` with what is told of its base; None where the base's label cannot be seen here.

    Where the model has an answer of its own and all that went into it was asked for, the base's counts too: if that is
    not told, the answer is not whole.
    """
    assert label.base is not None, "only what was made of another inherits"
    link = label.base
    made = {
        fact.key: _joined(fact, link, None if base is None else base.fact(fact.key)) for fact in label.facts
    }
    return label.with_facts(made)


def _joined(own: Fact, link: Base, other: Fact | None) -> Fact:
    if not (BY_KEY[own.key].inherited or own.key in _SAME):
        return own
    record = Record(kind="label", id=link.name, hash=link.identity, address=link.label)
    if own.status != "disclosed":
        if other is None or other.status == "not_disclosed":
            why = f"the label of {link.name} cannot be seen" if other is None else f"nor is it of {link.name}"
            return replace(own, status="not_disclosed", text="", missing=why, records=())
        if other.status == "not_applicable":
            return own if own.status == "not_applicable" else replace(other, records=(record,))
        return replace(
            other, text=f"{_marked(other.text, link.name)}", records=(record,), method="told by its label"
        )
    if not BY_KEY[own.key].inherited or (other is not None and other.status == "not_applicable"):
        return own
    if other is None or other.status == "not_disclosed":
        missing = f"that of {link.name}"
        return replace(own, missing=own.missing or missing)
    return replace(
        own,
        text=f"{own.text}; before that, of {link.name}: {other.text}",
        missing=own.missing or other.missing,
        records=(*own.records, record),
    )


def _marked(text: str, name: str) -> str:
    return f"of {name}: {text}" if not text.startswith("of ") else text
