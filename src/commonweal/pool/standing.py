"""What the pool thinks of a member, for work that does not come as units: who it is, what is known of it, and what a
verdict changes.

Units are judged where they are folded (``pool.foreman``); answers that members serve are judged by audits, and come
here. Both move the same reputation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from commonweal.core.errors import NotAuthorized
from commonweal.core.ids import MemberId, new_id
from commonweal.pool import accounts, census
from commonweal.pool.access import identify
from commonweal.pool.scheduler import reputation_after
from commonweal.pool.schema import members


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``owner`` is the account whose key registered the machine. ``accepted`` counts what it did well."""

    member: MemberId
    account: str
    owner: str
    trusted: bool
    reputation: float
    accepted: int


def of_key(connection: sa.Connection, secret: str) -> Standing:
    """The member that a key belongs to. Raises NotAuthorized, also for one that was banned."""
    caller = identify(connection, secret)
    if caller.role != "member":
        raise NotAuthorized(
            f"a {caller.role} key is no member's", hint="join the pool first: commonweal join URL"
        )
    row = connection.execute(sa.select(members).where(members.c.id == caller.member)).one()
    return Standing(
        member=caller.member,
        account=accounts.member_account(caller.member),
        owner=row.owner,
        trusted=row.trusted or row.owner == accounts.OPERATOR,
        reputation=row.reputation,
        accepted=row.accepted,
    )


def judge(connection: sa.Connection, member: str, *, good: bool, now: float, ban: bool = False) -> None:
    """Good work raises a member's reputation; bad work lowers it and costs what it has in escrow. Who is banned gets
    no more work of any kind. A member that is not there is nobody's loss."""
    here = members.c.id == member
    row = connection.execute(sa.select(members).where(here).with_for_update(key_share=True)).one_or_none()
    if row is None:
        return
    count = {"accepted": row.accepted + 1} if good else {"refused": row.refused + 1}
    connection.execute(
        members.update().where(here).values(reputation=reputation_after(row.reputation, good), **count)
    )
    if not good:
        accounts.forfeit(connection, MemberId(member), key=f"{member}:refused:{new_id('jrn')}", now=now)
    if ban:
        census.ban(connection, member, banned=True, now=now)


def accepted_of(connection: sa.Connection, names: Sequence[str]) -> Mapping[str, int]:
    """How much of each member's account was accepted so far; other accounts are left out."""
    ids = [name.removeprefix("member:") for name in names if name.startswith("member:")]
    rows = connection.execute(sa.select(members.c.id, members.c.accepted).where(members.c.id.in_(ids)))
    return {accounts.member_account(row.id): row.accepted for row in rows}
