"""What is yours: the machines that your key registered, and what your account has and how it came to it. The page has
nothing of it before a script sends your key, which stays in the browser's tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from commonweal.core.errors import NotAuthorized
from commonweal.ledger.accounts import AccountId, Balance, balance
from commonweal.ledger.journal import Movement, history
from commonweal.pool.access import Caller
from commonweal.pool.accounts import member_account
from commonweal.pool.owned import machines_of, may_read
from commonweal.web.pool import addresses
from commonweal.web.pool.machines import MachineRow, machine_rows
from commonweal.web.pool.source import Source
from commonweal.web.pool.trail import POOL
from commonweal.web.site.page import Page

_MACHINES, _JOURNALS = 200, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class YoursPage(Page):
    template: ClassVar[str] = "yours.html"
    refresh: ClassVar[float] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Of one account: what it has, and its latest journals; ``before`` is where the next ones begin, None at the end.
    A later piece (``first`` is False) has journals only."""

    account: str
    first: bool
    balance: Balance
    journals: Sequence[Movement]
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Yours:
    role: str
    machines: Sequence[MachineRow]
    books: Books


def page(source: Source) -> YoursPage:
    return YoursPage(path=addresses.YOURS, title="Your machines and credits", trail=(POOL,))


def yours(source: Source, caller: Caller, before: int | None) -> Yours:
    """Of the account that the caller's key speaks for. Raises NotFound for an account that was never opened."""
    found = machines_of(source.connection, caller, now=source.now, limit=_MACHINES)
    return Yours(
        role=caller.role,
        machines=machine_rows(source, found),
        books=_books(source.connection, AccountId(caller.owner), before),
    )


def machine_books(source: Source, caller: Caller, member: str, before: int | None) -> Books:
    """Of one machine. Raises NotAuthorized where it is not the caller's, and the caller not the operator."""
    account = member_account(member)
    if not may_read(source.connection, caller, account):
        raise NotAuthorized(
            "this machine was not registered with your key", hint="its owner and the operator see its credits"
        )
    return _books(source.connection, account, before)


def _books(connection: sa.Connection, account: AccountId, before: int | None) -> Books:
    found = history(connection, account, limit=_JOURNALS, before=before)
    return Books(
        account=account,
        first=before is None,
        balance=balance(connection, account),
        journals=found,
        before=found[-1].journal_id if len(found) == _JOURNALS else None,
    )
