"""The rules of the books, as a replay: give it every journal in order and it finds what is wrong.

Pure: it needs no database, so anyone can run it on a public export. It trusts nothing that it is given.

Proven for each journal: its hash, its place in the chain, postings in canonical form that sum to zero, no
balance that falls below zero but the issuance's, held credits that belong to a hold of the same account.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from commonweal.core.hashing import is_content_hash, record_hash
from commonweal.ledger.accounts import ISSUANCE
from commonweal.ledger.chain import GENESIS, Head, next_seal

MOST_PROBLEMS = 100

_FIELDS = {"version", "key", "kind", "memo", "at", "hold", "request", "postings"}
_BUCKETS = ("available", "held", "escrow")


@dataclass(slots=True)
class Replay:
    """The books so far. ``balances`` is by account and bucket, ``holds`` has the owner and what remains."""

    head: Head = field(default_factory=Head)
    journals: int = 0
    balances: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def sealed(self, journal: Any, digest: Any, position: Any, seal: Any) -> None:
        """The next journal of the chain."""
        name = self._name(journal)
        here = self.head.position + 1
        if type(position) is not int or position != here:
            self.report(f"{name} is at position {position}, and {here} was expected")
        if not _is_hash(digest) or seal != next_seal(self.head.seal, digest):
            self.report(f"{name} at position {here} does not follow the journal before it: its seal is wrong")
        self.head = Head(position=here, seal=seal if _is_hash(seal) else GENESIS)
        self.unsealed(journal, digest)

    def unsealed(self, journal: Any, digest: Any) -> None:
        """A journal that is not part of the chain yet."""
        self.journals += 1
        name = self._name(journal)
        if not _well_formed(journal):
            self.report(f"{name} is not a journal of a known form")
            return
        if record_hash(journal) != digest:
            self.report(f"{name} was changed after it was written: its hash is not that of its content")
        self._post(name, journal)

    def report(self, problem: str) -> None:
        """Note a problem; a long list is cut, since one early change makes everything after it wrong."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def _name(self, journal: Any) -> str:
        key = journal.get("key") if isinstance(journal, Mapping) else None
        return f"journal {str(key)[:200]!r}"

    def _post(self, name: str, journal: Mapping[str, Any]) -> None:
        total = sum(line["microcredits"] for line in journal["postings"])
        if total or not journal["postings"]:
            self.report(f"{name} sums to {total}, not to zero, over {len(journal['postings'])} postings")
        for line in journal["postings"]:
            place = (line["account"], line["bucket"])
            self.balances[place] += line["microcredits"]
            if self.balances[place] < 0 and place != (ISSUANCE, "available"):
                self.report(f"{name} takes {line['account']} to {self.balances[place]} {line['bucket']}")
        self._draw(name, journal)

    def _draw(self, name: str, journal: Mapping[str, Any]) -> None:
        held = [(p["account"], p["microcredits"]) for p in journal["postings"] if p["bucket"] == "held"]
        key = journal["hold"]
        if key is None and not held:
            return
        if key is None or len(held) != 1:
            self.report(f"{name} moves held credits without naming one hold of one account")
            return
        account, change = held[0]
        owner, remaining = self.holds.get(key, (account, 0))
        makes = journal["kind"] == "hold" and journal["key"] == key and not remaining
        if owner != account or remaining + change < 0 or (change > 0) != makes:
            self.report(f"{name} moves {change} of the hold '{key}' of {owner} that has {remaining}")
        self.holds[key] = (owner, remaining + change)
        if not self.holds[key][1]:
            del self.holds[key]


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and is_content_hash(value)


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str) and value.isprintable()
    )  # so no half of a surrogate pair, which has no UTF-8


def _well_formed(journal: Any) -> bool:
    return (
        isinstance(journal, Mapping)
        and set(journal) == _FIELDS
        and journal["version"] == 1
        and all(_is_text(journal[name]) for name in ("key", "kind", "memo", "at", "request"))
        and (journal["hold"] is None or _is_text(journal["hold"]))
        and isinstance(journal["postings"], list)
        and all(map(_well_formed_line, journal["postings"]))
        and _canonical(journal["postings"])
    )


def _well_formed_line(line: Any) -> bool:
    return (
        isinstance(line, Mapping)
        and set(line) == {"account", "bucket", "microcredits"}
        and _is_text(line["account"])
        and line["bucket"] in _BUCKETS
        and type(line["microcredits"]) is int
        and line["microcredits"] != 0
    )


def _canonical(lines: list[Mapping[str, Any]]) -> bool:
    places = [(line["account"], line["bucket"]) for line in lines]
    return all(a < b for a, b in itertools.pairwise(places))
