"""Holds: credits set aside for work to come, paid out as it is done.

A hold moves credits of one account from ``available`` to ``held``; each capture pays some of them to others,
a release gives the rest back. All three are journals, so the export shows them. A hold is named by the key of
the journal that made it: whoever crashed in between knows its name. Nothing here expires by itself;
:func:`stale_holds` finds what was left behind.

Every change of a hold locks its owner's account first, so the row of the hold needs no lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import InsufficientCredits, NotFound, UserError
from commonweal.ledger.accounts import AccountId, checked_name, lock_accounts
from commonweal.ledger.amounts import checked, shown
from commonweal.ledger.journal import Draft, Journal, Posting, asked, content_lines, find, merged, write
from commonweal.ledger.schema import holds, journals


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """``remaining`` of the ``microcredits`` that were held can still be captured or released."""

    key: str
    account: AccountId
    microcredits: int
    remaining: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    account: AccountId
    microcredits: int


def hold(
    conn: sa.Connection, *, key: str, account: AccountId, microcredits: int, memo: str = "", now: float
) -> Hold:
    """Set credits of ``account`` aside. Asking again returns the hold as it is now.

    Raises NotFound, InsufficientCredits, and Conflict if ``key`` was used for something else.
    """
    amount = checked(microcredits)
    request = asked("hold", account=account, microcredits=amount, memo=memo)
    locked = lock_accounts(conn, [account])
    if find(conn, key, request):
        return find_hold(conn, key)
    lines = (
        Posting(account=account, bucket="available", microcredits=-amount),
        Posting(account=account, bucket="held", microcredits=amount),
    )
    draft = Draft(key=key, kind="hold", memo=memo, postings=lines, request=request, hold=key)
    write(conn, draft, locked, now)
    conn.execute(sa.insert(holds).values(key=key, account=account, microcredits=amount, remaining=amount))
    return Hold(key=key, account=account, microcredits=amount, remaining=amount)


def capture(
    conn: sa.Connection, hold_key: str, *, key: str, payees: Sequence[Payee], memo: str = "", now: float
) -> Journal:
    """Pay out of a hold. It may be captured from as often as something remains of it.

    Raises NotFound, InsufficientCredits (more than remains), and Conflict if ``key`` was used for something
    else. The same call again returns the first journal.
    """
    lines = merged(Posting(account=p.account, microcredits=checked(p.microcredits)) for p in payees)
    request = asked("capture", hold=hold_key, payees=content_lines(lines), memo=memo)
    return draw(
        conn, hold_key, Draft(key=key, kind="capture", memo=memo, postings=lines, request=request), now
    )


def release(conn: sa.Connection, hold_key: str, *, key: str, memo: str = "", now: float) -> Journal | None:
    """Give back what remains of a hold; None if nothing does. The same call again returns the first journal.

    Raises NotFound, and Conflict if ``key`` was used for something else.
    """
    owner = find_hold(conn, hold_key).account
    request = asked("release", hold=hold_key, memo=memo)
    locked = lock_accounts(conn, [owner])
    earlier = find(conn, key, request)
    rest = find_hold(conn, hold_key).remaining
    if earlier or not rest:
        return earlier
    lines = (
        Posting(account=owner, bucket="available", microcredits=rest),
        Posting(account=owner, bucket="held", microcredits=-rest),
    )
    draft = Draft(key=key, kind="release", memo=memo, postings=lines, request=request, hold=hold_key)
    journal = write(conn, draft, locked, now)
    _lower(conn, hold_key, rest)
    return journal


def draw(conn: sa.Connection, hold_key: str, payout: Draft, now: float) -> Journal:
    """Post ``payout``, a journal that lacks its payer, at the expense of a hold."""
    owner = find_hold(conn, hold_key).account
    needed = sum(line.microcredits for line in payout.postings)
    if not needed:
        raise UserError(f"'{payout.key}' pays nobody", hint="name at least one payee")
    locked = lock_accounts(conn, [owner, *(line.account for line in payout.postings)])
    if earlier := find(conn, payout.key, payout.request):
        return earlier
    current = find_hold(conn, hold_key)
    if needed > current.remaining:
        raise _exhausted(current, needed)
    taken = Posting(account=owner, bucket="held", microcredits=-needed)
    draft = replace(payout, postings=merged((*payout.postings, taken)), hold=hold_key)
    journal = write(conn, draft, locked, now)
    _lower(conn, hold_key, needed)
    return journal


def find_hold(conn: sa.Connection, key: str) -> Hold:
    """A hold by the key that it was made with. Raises NotFound."""
    row = conn.execute(sa.select(holds).where(holds.c.key == checked_name("key", key))).one_or_none()
    if row is None:
        raise NotFound(f"no hold '{key}'", hint="a hold is named by the key that it was made with")
    return _hold(row)


def stale_holds(conn: sa.Connection, *, before: float, limit: int = 1000) -> tuple[Hold, ...]:
    """Holds made before a time that still keep credits, oldest first: what a crash may have left behind."""
    moment = datetime.fromtimestamp(before, UTC)
    statement = (
        sa.select(holds)
        .join(journals, journals.c.key == holds.c.key)
        .where(holds.c.remaining > 0, journals.c.at < moment)
        .order_by(journals.c.id)
        .limit(limit)
    )
    return tuple(_hold(row) for row in conn.execute(statement))


def _hold(row: Any) -> Hold:
    return Hold(
        key=row.key, account=AccountId(row.account), microcredits=row.microcredits, remaining=row.remaining
    )


def _lower(conn: sa.Connection, key: str, by: int) -> None:
    conn.execute(sa.update(holds).where(holds.c.key == key).values(remaining=holds.c.remaining - by))


def _exhausted(current: Hold, needed: int) -> InsufficientCredits:
    return InsufficientCredits(
        f"hold '{current.key}' of {current.account} has {shown(current.remaining)} of "
        f"{shown(current.microcredits)} credits left, and {shown(needed)} are needed",
        hint=f"{shown(needed - current.remaining)} more are missing: make another hold for them",
    )
