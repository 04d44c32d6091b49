"""Accounts: who has what, and the only locks of the ledger.

An account has three buckets. ``available`` can be spent; ``held`` is reserved by holds; ``escrow`` was earned
on probation. Only the one account named :data:`ISSUANCE` may be negative: it is where credits come from, so
its debt is the sum of all others.

Every change locks the rows of all accounts that it touches, in one order, and keeps them until the caller's
transaction ends. Holds and journals need no locks of their own: each belongs to a locked account. Two
transactions that each make one ledger call can therefore not deadlock. One that makes several calls on
different accounts calls :func:`lock_accounts` with all of them first.

The caller's transaction must be READ COMMITTED (PostgreSQL's default): what is read after a lock was granted
must be what the last holder of the lock wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NewType, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from commonweal.core.errors import Conflict, InsufficientCredits, NotFound, UserError
from commonweal.ledger.amounts import shown
from commonweal.ledger.schema import accounts

AccountId = NewType("AccountId", str)
AccountKind = Literal["member", "user", "job", "hub", "issuance"]

ISSUANCE = AccountId("issuance")
HUB = AccountId("hub")

Name = TypeVar("Name", bound=str)

_LONGEST = 200

_LOCK = (
    sa.select(accounts.c.account, accounts.c.available, accounts.c.held, accounts.c.escrow)
    .where(accounts.c.account == sa.any_(sa.bindparam("names", type_=ARRAY(sa.Text))))
    .order_by(accounts.c.account)
    .with_for_update(key_share=True)  # as strong as the UPDATE to come; foreign keys stay checkable
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Micro-credits of one account."""

    available: int
    held: int
    escrow: int

    @property
    def total(self) -> int:
        return self.available + self.held + self.escrow


Balances = Mapping[AccountId, Balance]


def open_account(conn: sa.Connection, account: AccountId, kind: AccountKind) -> None:
    """Make sure that ``account`` exists. Raises Conflict if it exists with another kind."""
    name = checked_name("account", account)
    if (kind == "issuance") != (name == ISSUANCE):
        raise UserError(f"account '{name}' cannot be of kind {kind}", hint="there is one issuance account")
    statement = insert(accounts).values(account=name, kind=kind).on_conflict_do_nothing()
    if conn.scalar(statement.returning(accounts.c.account)):
        return
    known = conn.scalar(sa.select(accounts.c.kind).where(accounts.c.account == name))
    if known != kind:
        raise Conflict(f"account '{name}' is a {known}, not a {kind}", hint="choose another name for it")


def lock_accounts(conn: sa.Connection, names: Iterable[AccountId]) -> Balances:
    """Lock accounts until the transaction ends; returns their balances. Raises NotFound."""
    wanted = [checked_name("account", name) for name in dict.fromkeys(names)]
    rows = conn.execute(_LOCK, {"names": wanted}).all()
    found = {AccountId(row.account): _balance(row) for row in rows}
    for name in wanted:
        if name not in found:
            raise _unknown(name)
    return found


def balance(conn: sa.Connection, account: AccountId) -> Balance:
    """What ``account`` has, without locking it. Raises NotFound."""
    columns = (accounts.c.available, accounts.c.held, accounts.c.escrow)
    statement = sa.select(*columns).where(accounts.c.account == checked_name("account", account))
    row = conn.execute(statement).one_or_none()
    if row is None:
        raise _unknown(account)
    return _balance(row)


def insufficient(account: AccountId, has: Balance, needed: int) -> InsufficientCredits:
    """The error for an account that cannot pay ``needed`` micro-credits."""
    aside = [f"{shown(n)} more {why}" for n, why in ((has.held, "held"), (has.escrow, "in escrow")) if n]
    return InsufficientCredits(
        f"{account} has {shown(has.available)} credits available"
        + (f" ({', '.join(aside)})" if aside else "")
        + f", and {shown(needed)} are needed",
        hint=f"{shown(needed - has.available)} more are missing: earn them by lending a machine "
        "(commonweal join), release a hold, or ask the operator for a grant",
    )


def checked_name(what: str, text: Name) -> Name:
    """``text`` if it can name an account, a journal or a kind. Raises UserError."""
    if not 0 < len(text) <= _LONGEST or not text.isprintable():
        raise UserError(
            f"{what} {text[:40]!r} cannot be used", hint=f"use 1 to {_LONGEST} printable characters"
        )
    return text


def _balance(row: Any) -> Balance:
    return Balance(available=row.available, held=row.held, escrow=row.escrow)


def _unknown(account: AccountId) -> NotFound:
    return NotFound(f"no account '{account}'", hint="open it before it is paid or pays")
