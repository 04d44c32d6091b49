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

from commonweal.core.errors import Conflict, NotAuthorized
from commonweal.core.ids import MemberId, new_id, new_secret
from commonweal.pool import wire
from commonweal.pool.schema import keys, members

Role = Literal["admin", "user", "join", "member"]

_PREFIX: dict[Role, str] = {"admin": "cwadmin", "user": "cw", "join": "cwjoin", "member": "cwmember"}

# Part of every request, so built once: see ``candidates``.
_IDENTIFY = (
    sa.select(keys.c.role, keys.c.owner, members.c.state)
    .outerjoin(members, keys.c.owner == sa.literal("member:") + members.c.id)
    .where(keys.c.hash == sa.bindparam("hashed"), keys.c.revoked.is_(None))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated side of a request. ``owner`` is an account; a member's is its id."""

    role: Role
    owner: str

    @property
    def member(self) -> MemberId:
        return MemberId(self.owner.removeprefix("member:"))

    def request(self, request_id: str) -> str:
        """A request's id as it is stored: nobody's request is taken for another's."""
        return f"{self.owner}:{request_id}"


def identify(connection: sa.Connection, secret: str) -> Caller:
    """The caller that ``secret`` belongs to. Raises NotAuthorized, also for a member that was banned."""
    row = connection.execute(_IDENTIFY, {"hashed": _hashed(secret)}).first()
    if row is None:
        raise NotAuthorized("this key is not known here", hint="ask the hub's operator for a valid key")
    if row.state == "banned":
        raise NotAuthorized("this member was banned", hint="ask the hub's operator why")
    return Caller(role=row.role, owner=row.owner)


def issue_key(
    connection: sa.Connection, *, role: Role, owner: str, label: str, now: float, request: str | None = None
) -> str:
    """A new key. It is returned here and never again.

    The same ``request`` gets the same key with another secret: the first answer was lost, and with it the only copy.
    Raises Conflict if the request made another key, or one that was revoked since.
    """
    secret = new_secret(_PREFIX[role])
    new = insert(keys).values(
        hash=_hashed(secret), role=role, owner=owner, label=label, created=now, request_id=request
    )
    same = sa.and_(
        keys.c.role == role, keys.c.owner == owner, keys.c.label == label, keys.c.revoked.is_(None)
    )
    made = connection.execute(
        new.on_conflict_do_update(
            index_elements=["request_id"], set_={"hash": new.excluded.hash}, where=same
        ).returning(keys.c.hash)
    ).first()
    if made is None:
        raise Conflict(
            "this request made another key, or one that was revoked since",
            hint="a new key takes a new request_id",
        )
    return secret


def has_keys(connection: sa.Connection, role: Role) -> bool:
    return connection.execute(sa.select(keys.c.hash).where(keys.c.role == role).limit(1)).first() is not None


def revoke_keys(connection: sa.Connection, *, owner: str, now: float, request: str | None = None) -> int:
    """Revoke every key of an account; returns how many there were. The same ``request`` again revokes no key that
    was made since."""
    if before := _revoked_by(connection, owner, request):
        return before
    found = connection.execute(
        keys.update()
        .where(keys.c.owner == owner, keys.c.revoked.is_(None))
        .values(revoked=now, revoked_by=request)
    )
    return found.rowcount or _revoked_by(connection, owner, request)  # the first may have ended just now


def _revoked_by(connection: sa.Connection, owner: str, request: str | None) -> int:
    if request is None:
        return 0
    count = sa.select(sa.func.count()).where(keys.c.owner == owner, keys.c.revoked_by == request)
    return connection.execute(count).scalar_one()


def register(connection: sa.Connection, body: wire.Register, by: Caller, now: float) -> wire.Registered:
    """Enter a machine as a member, brought by the account of ``by``. A repeated request gets the same member with a
    fresh key (the first reply was lost, and with it the only copy of the first key)."""
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
            owner=by.owner,
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
