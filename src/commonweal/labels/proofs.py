"""What proves a record once it was read: hashes reckoned anew, sums that add up, weights that are the state.

Nothing is trusted that can be reckoned. Reads files that it is given, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from commonweal.core.errors import CommonwealError, DataError
from commonweal.core.hashing import record_hash
from commonweal.data.prepare import source_hash
from commonweal.data.provenance import Provenance
from commonweal.data.sources import Source
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.checking import Proof
from commonweal.labels.facts import Record
from commonweal.labels.from_training import records_for, state_named
from commonweal.labels.records import Training
from commonweal.labels.runs import run_hash
from commonweal.labels.weights import Layout, state_of

HOLDS = Proof(outcome="holds")


def prove_training(record: Record, found: Training) -> Proof:
    """A record of a job, by what was read of it."""
    if record.id != found.job:
        return unknown(f"the records here are of another job, {found.job}")
    if record.kind == "data":
        return prove_data(record, found)
    if record.kind == "rounds" and (why := rounds_wrong(found)):
        return Proof(outcome="wrong", why=why)
    if record.kind == "books" and found.payments is None:
        return unknown("the books are not here")
    made = next((one for one in records_for(found).values() if one.kind == record.kind), None)
    if made is None:
        return unknown("nobody knows such a record")
    return equal(made.hash, record.hash, f"the {record.kind} of {record.id} are others")


def rounds_wrong(found: Training) -> str:
    """Why the rounds do not lead to the state, or nothing: their numbers, their sums, and where they ended."""
    if [one.number for one in found.rounds] != list(range(len(found.rounds))):
        return "rounds are missing"
    tokens = 0
    for one in found.rounds:
        tokens += sum(m.tokens for m in one.record.members if m.verdict == "ok")
        if one.record.tokens != tokens:
            return f"until round {one.number} members handed in {tokens:,} tokens, not {one.record.tokens:,}"
    if found.rounds and found.rounds[-1].record.state != state_named(found):
        return "the last round led to another state"
    return ""


def prove_weights(record: Record, folder: Path, layout: Layout) -> Proof:
    """Whether the files in a folder are the state that a record names."""
    made = state_of(folder, layout)
    if made is None:
        return unknown("its files do not have the parameters as the job had them")
    return equal(made, record.hash, "its weights are not the state that the rounds led to")


def prove_data(record: Record, found: Training) -> Proof:
    """The provenance by its own hash; and where the texts are here, they themselves."""
    told_of = found.spec.provenance
    if told_of.get("hash") != record.hash:
        return Proof(outcome="wrong", why="the data's record has another hash")
    if told_of.get("kind") == "examples":
        made = record_hash({name: value for name, value in told_of.items() if name != "hash"})
        return equal(made, record.hash, "the data's record was changed")
    if not (told_of.get("held_out") or {}).get("shards"):
        return unknown("what is held out is not told, and the record's hash is over that too")
    Provenance.from_json(told_of)
    return _texts(told_of)


def _texts(told_of: Mapping[str, Any]) -> Proof:
    """Where the texts lie as they did, they are compared; that they are not here, or others are, proves nothing."""
    content, kind, place = told_of.get("content"), told_of["kind"], str(told_of.get("location") or "")
    if not content or kind == "stdlib":
        return HOLDS
    try:
        here = source_hash(Source(kind=kind, path=place))
    except CommonwealError:
        return HOLDS
    return HOLDS if here in (content, "") else unknown(f"the texts that are at {place} here are others")


def prove_run(record: Record, runs: Sequence[SavedRun]) -> Proof:
    """A run in the folders that were given."""
    mine = [run for run in runs if run.name == record.id]
    if not mine:
        return unknown("the run is not in the folders given (--runs)")
    if any(run_hash(run) == record.hash for run in mine):
        return HOLDS
    return Proof(outcome="wrong", why=f"the run {record.id} has other numbers")


def as_far_as_read(prove: Callable[[Record], Proof], record: Record) -> Proof:
    """A record that is damaged is wrong; one that cannot be reached, or is of a form that nobody knows here, proves
    nothing."""
    try:
        return prove(record)
    except DataError as error:
        return Proof(outcome="wrong", why=error.message)
    except CommonwealError as error:
        return unknown(error.message)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return unknown(f"the record has another form than known here: {type(error).__name__}")


def prove_word(record: Record) -> Proof:
    if record.kind == "address":
        return unknown(f"read {record.address}")
    if record.kind == "label":
        return unknown(f"read the label of {record.id}")
    return unknown(f"it is the word of {record.id or 'who wrote it'}")


def unknown(why: str) -> Proof:
    return Proof(outcome="unknown", why=why)


def equal(made: str, wanted: str, why: str) -> Proof:
    return HOLDS if made == wanted else Proof(outcome="wrong", why=why)
