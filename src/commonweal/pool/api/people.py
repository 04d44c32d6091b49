"""Members, keys and totals over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query

from commonweal.core.errors import Conflict, NotFound
from commonweal.ledger.accounts import AccountId, open_account
from commonweal.pool import accounts, census, wire
from commonweal.pool.access import issue_key, revoke_keys
from commonweal.pool.api.context import Admin, Anyone, HubDep
from commonweal.pool.api.faults import documented

router = APIRouter(prefix=wire.PREFIX, tags=["people"])
MemberId = Annotated[str, Path(pattern=r"^mem_[0-9a-z]{16}$")]


@router.get("/status")
def status(hub: HubDep, _: Anyone) -> wire.Status:
    """Totals by state."""
    with hub.database.transaction() as connection:
        return census.status(connection, version=hub.version, now=hub.clock.now())


@router.get("/members")
def members(
    hub: HubDep, _: Anyone, limit: Annotated[int, Query(ge=1, le=10_000)] = 200
) -> list[wire.MemberRow]:
    """Members, the most recently seen first."""
    with hub.database.transaction() as connection:
        return census.list_members(connection, now=hub.clock.now(), limit=limit)


@router.post("/members/{member}/ban", status_code=204, responses=documented(NotFound))
def ban(member: MemberId, hub: HubDep, _: Admin, banned: Annotated[bool, Body(embed=True)] = True) -> None:
    """Refuse a member everything (its leases go to others), or let it come back."""
    with hub.database.transaction() as connection:
        census.ban(connection, member, banned=banned, now=hub.clock.now())


@router.post("/members/{member}/trust", status_code=204, responses=documented(NotFound))
def trust(member: MemberId, hub: HubDep, _: Admin, trusted: Annotated[bool, Body(embed=True)] = True) -> None:
    """Let a member answer requests that demand trusted machines, and look over others' answers; or no more."""
    with hub.database.transaction() as connection:
        census.trust(connection, member, trusted=trusted)


@router.post("/keys", status_code=201, responses=documented(Conflict))
def new_key(body: wire.NewKey, hub: HubDep, caller: Admin) -> wire.Key:
    """A new key: for machines to join with, for a user, or for another operator. Shown once."""
    account = accounts.OPERATOR if body.role == "admin" else AccountId(f"{body.role}:{body.label}")
    now = hub.clock.now()
    with hub.database.transaction() as connection:
        if body.role == "user":
            open_account(connection, account, "user")
        secret = issue_key(
            connection,
            role=body.role,
            owner=account,
            label=body.label,
            now=now,
            request=body.request_id and caller.request(body.request_id),
        )
    return wire.Key(key=secret, role=body.role, account=account)


@router.post("/keys/revoke", responses=documented(NotFound))
def revoke(body: wire.Revoke, hub: HubDep, caller: Admin) -> dict[str, int]:
    """Revoke every key of an account."""
    request = body.request_id and caller.request(body.request_id)
    with hub.database.transaction() as connection:
        revoked = revoke_keys(connection, owner=body.account, now=hub.clock.now(), request=request)
    if not revoked:
        raise NotFound(f"no valid key of account '{body.account[:80]}'")
    return {"revoked": revoked}
