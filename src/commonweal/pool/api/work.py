"""The work protocol: hello, register, lease, heartbeat, submit, release, leave."""

from __future__ import annotations

import asyncio
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from commonweal.core.errors import NotAuthorized, NotFound, Unavailable, UserError
from commonweal.core.ids import MemberId
from commonweal.pool import accounts, leases, links, wire
from commonweal.pool.access import register
from commonweal.pool.api.context import Hub, HubDep, Joiner, Member, authenticate
from commonweal.pool.api.faults import documented
from commonweal.pool.schema import members

router = APIRouter(prefix=wire.PREFIX, tags=["work"])
UnitId = Annotated[str, Path(pattern=r"^unit_[0-9a-z]{16}$")]

# Part of every poll and heartbeat, so built once: see ``candidates``.
_WHO = sa.bindparam("who", type_=sa.Text)
_NOW = sa.bindparam("at", type_=sa.Double)
_NEW_STATE = sa.bindparam("new_state", type_=sa.Text)
_MEMORY = sa.bindparam("memory", type_=sa.BigInteger)
_ASKED = sa.bindparam("asked", type_=sa.Double)
_LEFT = sa.and_(members.c.state == "left", members.c.last_seen >= _ASKED)
"""That a member said goodbye since it asked: its request was overtaken on the way, and nobody waits for the answer."""
_HAS_LEFT = sa.select(_LEFT).where(members.c.id == _WHO)
_SEEN = (
    members.update()
    .where(members.c.id == _WHO, members.c.state != "banned", sa.not_(_LEFT))
    .where(
        sa.or_(
            members.c.state != _NEW_STATE,
            members.c.last_seen < _NOW - 1,
            sa.and_(_MEMORY.is_not(None), members.c.free_memory == 0),
        )
    )
    .values(last_seen=_NOW, state=_NEW_STATE, free_memory=sa.func.coalesce(_MEMORY, members.c.free_memory))
)


class ClientTooOld(UserError):
    code = "client_too_old"
    status = 426


@router.get("/hello")
def hello(hub: HubDep) -> wire.Hello:
    """Who is here, and how to behave."""
    return wire.Hello(
        version=hub.version,
        time=hub.clock.now(),
        heartbeat_seconds=hub.options.heartbeat_seconds,
        lease_seconds=hub.options.lease_seconds,
    )


@router.post("/members", status_code=201, responses=documented(ClientTooOld))
def join(body: wire.Register, hub: HubDep, caller: Joiner) -> wire.Registered:
    """Register a machine with a join token, or with one's own key: a machine serves its owner first and for nothing.
    The reply holds its own key, shown once."""
    _check_version(body.client_version)
    with hub.database.transaction() as connection:
        registered = register(connection, body, caller, hub.clock.now())
        accounts.open_member(connection, registered.member)
        return registered


@router.post("/lease", responses={204: {"description": "no work within the wait"}})
async def lease(
    body: wire.LeaseRequest,
    hub: HubDep,
    request: Request,
    response: Response,
    authorization: Annotated[str | None, Header()] = None,
) -> wire.Lease | None:
    """Ask for work; waits up to ``wait`` seconds for some."""
    asked = hub.clock.now()
    caller = await run_in_threadpool(authenticate, request, authorization)
    if caller.role != "member":
        raise NotAuthorized("only members are given work", hint="register with a join token first")
    found = await _wait_for_work(hub, caller.member, body, request, asked)
    if found is None:
        response.status_code = 204
    return found


async def _wait_for_work(
    hub: Hub, member: MemberId, body: wire.LeaseRequest, request: Request, asked: float
) -> wire.Lease | None:
    deadline = asyncio.get_running_loop().time() + body.wait
    waiter = hub.waiting.enter(member, frozenset(body.roles))
    waited = False
    try:
        while True:
            heard = hub.waiting.heard(waiter)
            if await request.is_disconnected():
                hub.waiting.pass_on(waiter, heard)
                return None
            found = await run_in_threadpool(_try_lease, hub, member, body, asked, waited)
            # What another has taken meanwhile is no reason to wake everybody who waits, one after the other.
            missed = heard is not None and (found is None or found.unit != heard.unit)
            if missed and heard and await run_in_threadpool(_is_queued, hub, heard.unit):
                hub.waiting.pass_on(waiter, heard)
            if found is not None:
                return found
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            try:
                await asyncio.wait_for(waiter.woken.wait(), left)
            except TimeoutError:
                return None
            except asyncio.CancelledError:  # the server stops, and does not wait as long as we do
                raise Unavailable("the hub is stopping", hint="ask again") from None
            waited = True
    finally:
        hub.waiting.leave(waiter)


def _try_lease(
    hub: Hub, member: MemberId, body: wire.LeaseRequest, asked: float, waited: bool
) -> wire.Lease | None:
    """Who said goodbye while its request ``waited`` is lent nothing, even if its connection is still open."""
    now = hub.clock.now()
    with hub.database.transaction() as connection:
        if waited and connection.scalar(_HAS_LEFT, {"who": member, "asked": asked}):
            return None
        found = leases.lease(connection, member, body, ttl=hub.options.lease_seconds, now=now)
        state = "working" if found else "idle"
        seen(connection, member, state=state, now=now, asked=asked, free_memory=body.free_memory)
    return found


def _is_queued(hub: Hub, unit: str) -> bool:
    with hub.database.transaction() as connection:
        return leases.is_queued(connection, unit)


@router.post("/heartbeat")
def heartbeat(body: wire.Heartbeat, hub: HubDep, caller: Member) -> wire.HeartbeatReply:
    """Keep leases; learn which are lost."""
    now, ttl = hub.clock.now(), hub.options.lease_seconds
    with hub.database.transaction() as connection:
        seen(connection, caller.member, state=body.state, now=now)
        links.claimed(connection, caller.member, body.transfers, now)
        states = [
            wire.LeaseState(unit=p.unit, valid=leases.renew(connection, caller.member, p, ttl=ttl, now=now))
            for p in body.leases
        ]
    return wire.HeartbeatReply(leases=states)


@router.post("/units/{unit}/submit", responses=documented(NotFound, leases.StaleLease))
def submit(unit: UnitId, body: wire.Submit, hub: HubDep, caller: Member) -> wire.Submitted:
    """Hand in a unit. Late or doubled, it changes nothing and says so."""
    for name, blob in body.blobs.items():
        if not hub.blobs.has(wire.as_hash(blob)):
            raise UserError(
                f"blob '{name}' ({blob[:12]}) was not uploaded", hint="upload it, then submit again"
            )
    now = hub.clock.now()
    with hub.database.transaction() as connection:
        seen(connection, caller.member, state="idle", now=now)
        links.claimed(connection, caller.member, body.transfers, now)
        return leases.submit(connection, caller.member, unit, body, now=now)


@router.post("/units/{unit}/release", status_code=204)
def release(unit: UnitId, body: wire.Release, hub: HubDep, caller: Member) -> None:
    """Hand a lease back undone."""
    now = hub.clock.now()
    with hub.database.transaction() as connection:
        seen(connection, caller.member, state="idle", now=now)
        leases.give_back(connection, caller.member, unit, body, now=now)


@router.post("/leave", status_code=204)
def leave(hub: HubDep, caller: Member) -> None:
    """The machine goes away for now; its key stays valid."""
    with hub.database.transaction() as connection:
        seen(connection, caller.member, state="left", now=hub.clock.now())


def seen(
    connection: sa.Connection,
    member: MemberId,
    *,
    state: str,
    now: float,
    asked: float | None = None,
    free_memory: int | None = None,
) -> None:
    """Note that a member is here, unless it said goodbye after it ``asked`` (now, if left out). Written at most once a
    second while nothing changes."""
    asked = now if asked is None else asked
    noted = {"who": member, "at": now, "asked": asked, "new_state": state, "memory": free_memory}
    connection.execute(_SEEN, noted)


def _check_version(version: str) -> None:
    if _numbers(version) < _numbers(wire.OLDEST_CLIENT):
        raise ClientTooOld(
            f"client {version} is older than {wire.OLDEST_CLIENT}, the oldest that this hub accepts",
            hint="pip install --upgrade commonweal",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c in "0123456789") or 0) for part in version.split(".")[:3])
