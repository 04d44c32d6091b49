"""Whether a label holds: each fact against its records, as far as these can be read from here. Pure.

Two things make a fact hold: its records are what they were (their hash, reckoned anew), and the fact follows from them
(the label made anew of the records says the same). A fact that is somebody's word cannot be checked, and is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from commonweal.labels.facts import Evaluation, Fact, Label, Record

Outcome = Literal["holds", "wrong", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found out of one record: ``why`` in words."""

    outcome: Outcome
    why: str = ""


Prove = Callable[[Record], Proof]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of one fact (``key`` is a question's or ``run:NAME``)."""

    key: str
    outcome: Outcome
    why: str = ""


def check(label: Label, prove: Prove, again: Label | None) -> tuple[Verdict, ...]:
    """A verdict for each fact that is told, and for each run. ``again`` is the label made anew of the records, None
    where they are not here."""
    known: dict[Record, Proof] = {}

    def proved(record: Record) -> Proof:
        if record not in known:
            known[record] = prove(record)
        return known[record]

    anew = {} if again is None else again.by_key()
    runs = {} if again is None else {one.run: one for one in again.evaluations}
    facts = [_fact(fact, proved, anew) for fact in label.facts if fact.status != "not_disclosed"]
    return (*facts, *(_run(one, proved, runs) for one in label.evaluations))


def _fact(fact: Fact, prove: Prove, anew: Mapping[str, Fact]) -> Verdict:
    found = _worst([prove(record) for record in fact.records])
    if found.outcome == "wrong":
        return Verdict(key=fact.key, outcome="wrong", why=found.why)
    other = anew.get(fact.key)
    if other is not None and other.status != "not_disclosed" and not _same(fact, other):
        return Verdict(
            key=fact.key, outcome="wrong", why=f"its records say: {other.text[:200] or other.status}"
        )
    if found.outcome == "unknown":
        return Verdict(key=fact.key, outcome="unknown", why=found.why)
    if other is None or other.status == "not_disclosed":
        return Verdict(key=fact.key, outcome="unknown", why="the fact cannot be made of its records here")
    return Verdict(key=fact.key, outcome="holds")


def _same(fact: Fact, other: Fact) -> bool:
    return (fact.status, fact.text, fact.value) == (other.status, other.text, other.value)


def _run(one: Evaluation, prove: Prove, anew: Mapping[str, Evaluation]) -> Verdict:
    key, found = f"run:{one.run}", prove(one.record)
    other = anew.get(one.run)
    if found.outcome != "holds":
        return Verdict(key=key, outcome=found.outcome, why=found.why)
    if other is None:
        return Verdict(key=key, outcome="unknown", why="the run is not here")
    if (one.main, dict(one.cells)) != (other.main, dict(other.cells)):
        return Verdict(key=key, outcome="wrong", why="its record has other numbers")
    return Verdict(key=key, outcome="holds")


def _worst(proofs: Sequence[Proof]) -> Proof:
    for outcome in ("wrong", "unknown"):
        for proof in proofs:
            if proof.outcome == outcome:
                return proof
    return Proof(outcome="holds") if proofs else Proof(outcome="unknown", why="it names no record")
