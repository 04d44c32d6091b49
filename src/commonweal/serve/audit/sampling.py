"""How many of a member's answers are looked at: after BOINC's adaptive replication (Anderson, 2019).

A new member is looked at often, one that proved good seldom but never not at all, and one whose reputation fell often
again. Nobody is told beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

from commonweal.serve.router.worker import Lender


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRates:
    """Shares of answers: ``first`` of a new member's, falling to ``least`` with what was found good: to half after
    ``half`` good ones. ``low``: of a member whose reputation is below ``doubt``."""

    first: float = 0.2
    least: float = 0.02
    half: float = 20.0
    low: float = 0.5
    doubt: float = 0.4


def rate(lender: Lender, rates: AuditRates) -> float:
    """The share of this member's answers to be scored anew. The operator's own machines are trusted.

    >>> rate(Lender(member="m", account="a", owner="a", accepted=20), AuditRates())
    0.1
    """
    if lender.trusted:
        return 0.0
    if lender.reputation < rates.doubt:
        return rates.low
    return max(rates.least, rates.first / (1.0 + lender.accepted / rates.half))
