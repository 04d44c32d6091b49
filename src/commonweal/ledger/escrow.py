"""Earnings, and the probation of new members.

A share of what a member earns with its first accepted units is not its own yet: it waits in the ``escrow``
bucket of its account, is set free when enough of its units were accepted, and is forfeited to the pool when
it cheats before that. So cheating and leaving under a new name costs something, though joining is free.

Who counts accepted units is the caller; the ledger is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from commonweal.core.errors import UserError
from commonweal.ledger.accounts import HUB, AccountId, Balances, lock_accounts, open_account
from commonweal.ledger.amounts import MICRO, checked
from commonweal.ledger.holds import Hold, draw
from commonweal.ledger.journal import Draft, Journal, Posting, asked, find, merged, write


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowPolicy:
    """``share`` of a member's earnings wait in escrow until ``units`` of its units were accepted."""

    share: float = 0.5
    units: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: {self.share} is not between 0 and 1")
        if self.units < 0:
            raise ValueError(f"units: {self.units} is negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Earning:
    """What a member is paid for a unit; ``accepted`` is how many of its units were accepted before this
    one."""

    account: AccountId
    microcredits: int
    accepted: int


def past_probation(earning: Earning, policy: EscrowPolicy) -> bool:
    """Whether the member is past its probation with this unit."""
    return earning.accepted + 1 >= policy.units


def escrowed(microcredits: int, policy: EscrowPolicy) -> int:
    """The part of an earning on probation that has to wait.

    >>> escrowed(5, EscrowPolicy(share=0.5, units=20))
    2
    """
    return microcredits * round(policy.share * MICRO) // MICRO


def earn(
    conn: sa.Connection,
    *,
    key: str,
    payer: AccountId | Hold,
    earnings: Sequence[Earning],
    policy: EscrowPolicy,
    memo: str = "",
    now: float,
) -> Journal:
    """Pay members for accepted units, all of them in one journal, from an account or out of a hold.

    A member that passes the probation with it gets its escrow too. Raises UserError (an account that pays
    itself; out of a hold it can), NotFound, InsufficientCredits, and Conflict if ``key`` was used for
    something else. The same call again (whatever ``accepted`` and the policy are by then) returns the first
    journal.
    """
    source, owner = (payer.key, payer.account) if isinstance(payer, Hold) else (payer, payer)
    due = sorted((earning.account, checked(earning.microcredits)) for earning in earnings)
    if any(earning.account == payer for earning in earnings):
        raise UserError(f"{owner} cannot pay itself", hint="hold the credits first and pay out of the hold")
    request = asked("earn", payer=source, due=due, memo=memo)
    locked = lock_accounts(conn, [owner, *(earning.account for earning in earnings)])
    past = {earning.account for earning in earnings if past_probation(earning, policy)}
    lines = merged((*_shares(earnings, policy, past), *_matured(past, locked)))
    payout = Draft(key=key, kind="earn", memo=memo, postings=lines, request=request)
    if isinstance(payer, Hold):
        return draw(conn, payer.key, payout, now)
    charge = Posting(account=payer, microcredits=-sum(amount for _, amount in due))
    paid = replace(payout, postings=merged((*lines, charge)))
    return find(conn, key, request) or write(conn, paid, locked, now)


def mature(
    conn: sa.Connection, *, key: str, account: AccountId, memo: str = "", now: float
) -> Journal | None:
    """Set the escrow of an account free; None if there is none. The same call again returns the first
    journal."""
    return _empty_escrow(conn, "mature", key, account, account, memo, now)


def forfeit(
    conn: sa.Connection, *, key: str, account: AccountId, memo: str = "", now: float
) -> Journal | None:
    """Take the escrow of an account for the pool (the account HUB); None if there is none."""
    open_account(conn, HUB, "hub")
    return _empty_escrow(conn, "forfeit", key, account, HUB, memo, now)


def _shares(earnings: Sequence[Earning], policy: EscrowPolicy, past: set[AccountId]) -> Iterator[Posting]:
    for earning in earnings:
        waits = 0 if earning.account in past else escrowed(earning.microcredits, policy)
        yield Posting(account=earning.account, microcredits=earning.microcredits - waits)
        yield Posting(account=earning.account, bucket="escrow", microcredits=waits)


def _matured(past: set[AccountId], locked: Balances) -> Iterator[Posting]:
    for account in past:
        waited = locked[account].escrow
        yield Posting(account=account, microcredits=waited)
        yield Posting(account=account, bucket="escrow", microcredits=-waited)


def _empty_escrow(
    conn: sa.Connection, kind: str, key: str, account: AccountId, to: AccountId, memo: str, now: float
) -> Journal | None:
    request = asked(kind, account=account, memo=memo)
    locked = lock_accounts(conn, [account, to])
    earlier = find(conn, key, request)
    amount = locked[account].escrow
    if earlier or not amount:
        return earlier
    lines = merged(
        (
            Posting(account=account, bucket="escrow", microcredits=-amount),
            Posting(account=to, bucket="available", microcredits=amount),
        )
    )
    return write(conn, Draft(key=key, kind=kind, memo=memo, postings=lines, request=request), locked, now)
