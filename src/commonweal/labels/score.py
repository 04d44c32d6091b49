"""The transparency score: how many of the index's indicators that a label can answer are answered, by domain.

An indicator counts where the facts that answer it are told whole; where all of them do not apply to the model it is
not asked, and that is counted too. So ``told + untold = asked`` always, and nothing that is missing makes it higher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commonweal.labels.facts import Fact, Label
from commonweal.labels.indicators import ASKED, DOMAINS, Domain, Indicator


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One domain, or all: the names of the indicators that are told, that are not, and that do not apply."""

    domain: str
    told: tuple[str, ...]
    untold: tuple[str, ...]
    not_applicable: tuple[str, ...]

    @property
    def asked(self) -> int:
        return len(self.told) + len(self.untold)

    @property
    def share(self) -> float:
        """Of what was asked; 0 where nothing was."""
        return len(self.told) / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """``parts`` by domain; ``facts`` are all questions of the label, also those that no indicator asks."""

    parts: Mapping[Domain, Part]
    whole: Part
    facts_told: int
    facts_untold: int
    facts_not_applicable: int


def score(label: Label) -> Score:
    facts = label.by_key()
    parts = {domain: _part(domain, [i for i in ASKED if i.domain == domain], facts) for domain in DOMAINS}
    statuses = [fact.status for fact in label.facts]
    return Score(
        parts=parts,
        whole=_part("all", ASKED, facts),
        facts_told=statuses.count("disclosed"),
        facts_untold=statuses.count("not_disclosed"),
        facts_not_applicable=statuses.count("not_applicable"),
    )


def _part(domain: str, indicators: Sequence[Indicator], facts: Mapping[str, Fact]) -> Part:
    sides: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for one in indicators:
        sides[_answered(one, facts)].append(one.name)
    return Part(
        domain=domain,
        told=tuple(sides[True]),
        untold=tuple(sides[False]),
        not_applicable=tuple(sides[None]),
    )


def _answered(indicator: Indicator, facts: Mapping[str, Fact]) -> bool | None:
    """None where it does not apply."""
    found = [facts[key] for key in indicator.questions]
    if all(fact.status == "not_applicable" for fact in found):
        return None
    enough = any if indicator.any_of else all
    return enough(fact.whole for fact in found if fact.status != "not_applicable")
