"""What the holder of a key may see of what is its own: its machines, and whose books it may read."""

from __future__ import annotations

import sqlalchemy as sa

from commonweal.ledger.accounts import AccountId
from commonweal.pool.access import Caller
from commonweal.pool.accounts import member_account
from commonweal.pool.public import Machine, machines_where
from commonweal.pool.schema import members


def machines_of(connection: sa.Connection, caller: Caller, *, now: float, limit: int) -> list[Machine]:
    """The machines that a key registered, those seen last first; a machine's own key has that one."""
    member = caller.role == "member"
    mine = members.c.id == caller.member if member else members.c.owner == caller.owner
    return machines_where(connection, mine, now=now, limit=limit)


def may_read(connection: sa.Connection, caller: Caller, account: AccountId) -> bool:
    """Whether the caller may read an account's journals: its own, those of machines that its key registered, and for
    the operator all."""
    if caller.role == "admin" or account == caller.owner:
        return True
    if caller.role != "user" or not account.startswith(member_account("")):
        return False
    mine = sa.select(members.c.owner).where(members.c.id == account.removeprefix(member_account("")))
    return connection.scalar(mine) == caller.owner
