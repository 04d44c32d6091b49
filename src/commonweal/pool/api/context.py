"""What every route needs: the hub's parts, the caller, and the transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Header, Request

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.core.work import JobFactory
from commonweal.pool.access import Caller, Role, identify
from commonweal.pool.api.strangers import EXPORT, WRONG_KEY, Strangers, address_of
from commonweal.pool.proof import Prover
from commonweal.pool.waiting import WaitingRoom


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """``lease_seconds``: a lease is lost this long after the last heartbeat. ``upload_quota``: the bytes that an
    account may have uploaded and nothing names yet. ``incoming``: a folder for uploads that are under way (shared by
    all hub processes on one folder store)."""

    heartbeat_seconds: float = 10.0
    lease_seconds: float = 30.0
    largest_blob: int = 8 * 2**30
    upload_quota: int = 16 * 10**9
    incoming: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The parts that the routes share. Nothing in it outlives the process."""

    database: Database
    blobs: Blobs
    clock: Clock
    options: HubOptions
    factories: dict[str, JobFactory]
    waiting: WaitingRoom
    prover: Prover
    strangers: Strangers
    version: str


def hub_of(request: Request) -> Hub:
    hub = request.app.state.hub
    assert isinstance(hub, Hub)
    return hub


HubDep = Annotated[Hub, Depends(hub_of)]


def authenticate(request: Request, authorization: str | None, *, wrong_counts_as: int = WRONG_KEY) -> Caller:
    """The caller behind an Authorization header. Raises NotAuthorized, and Overloaded where an address is wrong about
    its keys too often."""
    if not authorization or not authorization.lower().startswith("bearer "):
        raise NotAuthorized("no key was sent", hint="send the header 'Authorization: Bearer KEY'")
    hub = hub_of(request)
    try:
        with hub.database.transaction() as connection:
            return identify(connection, authorization[7:].strip())
    except NotAuthorized:
        hub.strangers.count(address_of(request.scope), wrong_counts_as)
        raise


def _read_the_books(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
    """The books are public: any key will do, and none. A call with one that is not valid is a stranger's."""
    if authorization is not None:
        with suppress(NotAuthorized):
            authenticate(request, authorization, wrong_counts_as=EXPORT)


def _require(*roles: Role) -> Callable[..., Caller]:
    def caller(request: Request, authorization: Annotated[str | None, Header()] = None) -> Caller:
        found = authenticate(request, authorization)
        if found.role not in roles:
            raise NotAuthorized(
                f"a {found.role} key may not do this", hint=f"use a key of kind {' or '.join(roles)}"
            )
        return found

    return caller


ReaderOfTheBooks = Annotated[None, Depends(_read_the_books)]
Anyone = Annotated[Caller, Depends(_require("admin", "user", "member"))]
Member = Annotated[Caller, Depends(_require("member"))]
Joiner = Annotated[Caller, Depends(_require("join", "user", "admin"))]
Admin = Annotated[Caller, Depends(_require("admin"))]
