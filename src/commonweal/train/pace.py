"""How long a round takes whom: what to ask of everybody, who is reckoned with, and when to stop waiting.

All goes by the median member, so that no single one moves it, however slow it is or makes itself look. Nothing here
knows codecs or schedules: a round is so many steps and so many bytes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from commonweal.core.work import Amount, MemberView

FIRST_SECONDS = 300.0
"""How long a round may compute before any speed is known."""

LATE_LINK = 4.0
"""A member is not reckoned with whose transfers take so many times as long as the median member's, and longer than
half of the time that a round computes."""

_MOST_TIMES_TYPICAL = 4
_MARGIN_SECONDS = 10.0


def typical(seconds: Sequence[float]) -> float:
    """The lower median: of two members the faster one's, for either may be the one that makes itself look slow."""
    return statistics.median_low(seconds) if seconds else 0.0


def typical_rate(members: Sequence[MemberView]) -> float:
    """The median member's inner steps a second; 0 before any is measured."""
    rates = [m.rate for m in members if m.rate]
    return statistics.median(rates) if rates else 0.0


def amount_of(
    steps: int, members: Sequence[MemberView], *, seconds: float, up_bytes: float, down_bytes: float
) -> Amount:
    """How many steps to ask of whom. The median member is asked for the typical ``steps`` (or for what it can do in
    ``seconds``, unless that is 0) and the others for what they can do until it has moved its bytes as well."""
    rate = typical_rate(members)
    target = seconds or (steps / rate if rate else FIRST_SECONDS)
    moving = [m for seen in members if (m := _moving(seen, up_bytes, down_bytes)) is not None]
    return Amount(
        least=1,
        most=_MOST_TIMES_TYPICAL * steps,
        first=steps,
        target_seconds=target,
        up_bytes=up_bytes,
        down_bytes=down_bytes,
        transfer_seconds=typical(moving),
    )


def reckoned_with(members: Sequence[MemberView], amount: Amount) -> list[MemberView]:
    """All but those whose links are so slow that waiting for them would cost the others more than they bring. They are
    lent a unit, and what they hand in while the others are waited for counts."""
    return [m for m in members if not _is_late(m, amount)]


def worth(member: MemberView, amount: Amount) -> float:
    """Steps that a member does in a round; -1 for whom nobody waits."""
    if _is_late(member, amount):
        return -1.0
    return (member.rate or 0.0) * amount.computing(amount.moving(member.upload, member.download))


def deadline_after(amount: Amount, members: Sequence[MemberView]) -> float:
    """Seconds from now until the round is folded with what is there: the time that members have to compute, twice what
    the slowest link that is reckoned with needs, and a margin."""
    slowest = max(
        (amount.moving(m.upload, m.download) for m in reckoned_with(members, amount)),
        default=amount.transfer_seconds,
    )
    return 1.5 * amount.target_seconds + 2 * slowest + _MARGIN_SECONDS


def _is_late(member: MemberView, amount: Amount) -> bool:
    most = max(LATE_LINK * amount.transfer_seconds, amount.target_seconds / 2)
    return amount.moving(member.upload, member.download) > most


def _moving(member: MemberView, up_bytes: float, down_bytes: float) -> float | None:
    if not member.upload or not member.download:
        return None
    return up_bytes / member.upload + down_bytes / member.download
