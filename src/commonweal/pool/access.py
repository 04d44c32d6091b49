"""Who is asking: keys, what each may do, and the registration of machines.

A key speaks for one account. ``admin`` may do everything, ``user`` submits jobs and reads, ``join`` registers
machines and nothing else, ``member`` works. Keys are shown once and stored as their hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import NotAuthorized
from commonweal.core.ids import MemberId, new_id, new_secret
from commonweal.pool import wire
from commonweal.pool.schema import keys, members

Role = Literal["admin", "user", "join", "member"]

_PREFIX: dict[Role, str] = {"admin": "cwadmin", "user": "cw", "join": "cwjoin", "member": "cwmember"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated side of a request. ``owner`` is an account; a member's is its id."""

    role: Role
    owner: str

    @property
    def member(self) -> MemberId:
        return MemberId(self.owner.removeprefix("member:"))


def identify(connection: sa.Connection, secret: str) -> Caller:
    """The caller that ``secret`` belongs to. Raises NotAuthorized, also for a member that was banned."""
    row = connection.execute(
        sa.select(keys.c.role, keys.c.owner, members.c.state)
        .outerjoin(members, keys.c.owner == sa.literal("member:") + members.c.id)
        .where(keys.c.hash == _hashed(secret), keys.c.revoked.is_(None))
    ).first()
    if row is None:
        raise NotAuthorized("this key is not known here", hint="ask the hub's operator for a valid key")
    if row.state == "banned":
        raise NotAuthorized("this member was banned", hint="ask the hub's operator why")
    return Caller(role=row.role, owner=row.owner)


def issue_key(connection: sa.Connection, *, role: Role, owner: str, label: str, now: float) -> str:
    """A new key. It is returned here and never again."""
    secret = new_secret(_PREFIX[role])
    connection.execute(
        keys.insert().values(hash=_hashed(secret), role=role, owner=owner, label=label, created=now)
    )
    return secret


def has_keys(connection: sa.Connection, role: Role) -> bool:
    return connection.execute(sa.select(keys.c.hash).where(keys.c.role == role).limit(1)).first() is not None


def revoke_keys(connection: sa.Connection, *, owner: str, now: float) -> int:
    """Revoke every key of an account; returns how many there were."""
    found = connection.execute(
        keys.update().where(keys.c.owner == owner, keys.c.revoked.is_(None)).values(revoked=now)
    )
    return found.rowcount


def register(connection: sa.Connection, body: wire.Register, now: float) -> wire.Registered:
    """Enter a machine as a member. A repeated request gets the same member with a fresh key (the first reply
    was lost, and with it the only copy of the first key)."""
    row = connection.execute(
        insert(members)
        .values(
            id=new_id("mem"),
            name=body.name,
            client_version=body.client_version,
            roles=list(body.roles),
            platform=body.platform,
            joined=now,
            last_seen=now,
            request_id=body.request_id,
        )
        .on_conflict_do_update(index_elements=["request_id"], set_={"last_seen": now})
        .returning(members.c.id)
    ).one()
    owner = f"member:{row.id}"
    revoke_keys(connection, owner=owner, now=now)
    return wire.Registered(
        member=row.id, key=issue_key(connection, role="member", owner=owner, label=body.name, now=now)
    )


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
