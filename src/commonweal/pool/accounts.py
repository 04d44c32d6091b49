"""Where the pool meets the ledger: who pays for a job, who is paid for its units.

A job's budget is a hold on its owner's account; each fold pays the accepted units out of it, in the fold's own
transaction; what is left returns to the owner when the job ends. Journal keys name the job and the round, so
a repeated fold cannot pay twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import InsufficientCredits
from commonweal.core.ids import MemberId
from commonweal.core.work import Payment
from commonweal.ledger.accounts import HUB, ISSUANCE, AccountId, lock_accounts, open_account
from commonweal.ledger.escrow import Earning, EscrowPolicy, earn
from commonweal.ledger.escrow import forfeit as forfeit_escrow
from commonweal.ledger.holds import find_hold, hold, release
from commonweal.ledger.journal import grant
from commonweal.pool.schema import members

OPERATOR = AccountId("operator")


def member_account(member: str) -> AccountId:
    return AccountId(f"member:{member}")


def open_member(connection: sa.Connection, member: str) -> None:
    open_account(connection, member_account(member), "member")


def open_operator(connection: sa.Connection, first_issue: int, now: float) -> None:
    """The account of the hub's operator, with the first credits of the pool in it."""
    open_account(connection, ISSUANCE, "issuance")
    open_account(connection, OPERATOR, "user")
    if first_issue:
        grant(
            connection,
            key="first-issue",
            account=OPERATOR,
            microcredits=first_issue,
            memo="first issue",
            now=now,
        )


def fund(
    connection: sa.Connection, job: str, owner: str, microcredits: int, *, number: int, now: float
) -> str | None:
    """Set a job's budget aside; returns the name of the hold. Raises InsufficientCredits."""
    if microcredits <= 0:
        return None
    key = f"{job}:budget:{number}"
    hold(connection, key=key, account=AccountId(owner), microcredits=microcredits, memo=job, now=now)
    return key


def lock(connection: sa.Connection, job: sa.Row[Any], payees: Sequence[MemberId]) -> None:
    """Lock every account that a fold may touch, in the ledger's order, so that two folds cannot deadlock."""
    open_account(connection, HUB, "hub")
    lock_accounts(
        connection, [HUB, AccountId(job.owner), *sorted({member_account(member) for member in payees})]
    )


def pay(connection: sa.Connection, job: sa.Row[Any], payments: Sequence[Payment], now: float) -> int:
    """Pay for a round's accepted units; returns the sum. Raises InsufficientCredits (nothing is paid then)."""
    due = [p for p in payments if p.microcredits > 0]
    total = sum(p.microcredits for p in due)
    if not total:
        return 0
    if job.hold is None:
        raise InsufficientCredits(
            f"job {job.id} has no budget, and this round costs {total} micro-credits",
            hint=f"commonweal jobs resume {job.id} --budget CREDITS",
        )
    earn(
        connection,
        key=f"{job.id}:round:{job.rounds}",
        payer=find_hold(connection, job.hold),
        earnings=_earnings(connection, due),
        policy=EscrowPolicy(),
        memo=f"{job.name}, round {job.rounds}",
        now=now,
    )
    return total


def settle(connection: sa.Connection, job: sa.Row[Any], now: float) -> None:
    """The job is over: give back what is left of its budget."""
    if job.hold is not None:
        release(connection, job.hold, key=f"{job.hold}:rest", memo=job.id, now=now)


def forfeit(connection: sa.Connection, member: MemberId, *, key: str, now: float) -> None:
    """A new member cheated: the pool keeps what it had in escrow."""
    forfeit_escrow(connection, key=key, account=member_account(member), memo="refused contribution", now=now)


def _earnings(connection: sa.Connection, due: Sequence[Payment]) -> list[Earning]:
    counts: dict[str, int] = {
        row.id: row.accepted
        for row in connection.execute(
            sa.select(members.c.id, members.c.accepted).where(members.c.id.in_([p.member for p in due]))
        )
    }
    earnings = []
    for payment in due:
        account, accepted = member_account(payment.member), counts[payment.member]
        earnings.append(Earning(account=account, microcredits=payment.microcredits, accepted=accepted))
        counts[payment.member] += 1
    return earnings
