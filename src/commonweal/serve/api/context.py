"""What every route under ``/v1`` needs: the parts of the hub that serve, and the account that asks.

``app.state.serve`` holds one :class:`Serve`. Who a key belongs to is looked up by a function that is passed in (keys
are the pool's), and remembered for ``key_seconds``: a revoked key works for at most that long. Nothing in it outlives
the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, NotFound
from commonweal.serve.api.rates import Rates
from commonweal.serve.api.remembering import Remembered
from commonweal.serve.api.repeats import Repeats
from commonweal.serve.catalogue import NAME, ServedModel, find
from commonweal.serve.community.parts import Community
from commonweal.serve.desk import Desk
from commonweal.serve.tools.workbench import Workbench
from commonweal.serve.tuning.trainer import Trainer

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who asks: an account's name, and what kind of key it showed (admin, user, member ...)."""

    name: str
    role: str = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """``requests_per_minute`` and ``tokens_per_minute`` are an account's limits over all hub processes; each of
    ``processes`` grants its share. ``key_seconds``: how long a key (or a model's row) is remembered.
    ``repeat_seconds``: how long an answer is kept for a client that did not get it. ``linger_seconds``: how long an
    answer is still made for a client that went away and said that it repeats. ``patience_seconds``: how long a stream
    waits for its first event before it is begun, so that an error can still be a plain HTTP one;
    ``keep_alive_seconds``: how often a stream without events sends a comment. ``largest_file`` and ``file_quota``: the
    bytes of a file, and of all files of an account."""

    requests_per_minute: int = 6_000
    tokens_per_minute: int = 4_000_000
    processes: int = 1
    key_seconds: float = 5.0
    repeat_seconds: float = 30.0
    repeat_bytes: int = 64 * MIB
    linger_seconds: float = 2.0
    patience_seconds: float = 10.0
    keep_alive_seconds: float = 15.0
    largest_file: int = 512 * MIB
    file_quota: int = 16 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """The parts that the routes share. ``identify`` tells a key's account, or raises NotAuthorized; it may ask the
    database, and is called in a thread. ``wrong_key`` is told the address that a wrong key came from, and may raise
    Overloaded. ``trainer`` is who fine-tunes (None: nobody here), ``tuning_happened`` wakes the loop that moves
    jobs. ``workbench`` has the tools that this hub runs (None: none)."""

    desk: Desk
    database: Database
    blobs: Blobs
    clock: Clock
    identify: Callable[[str], Account]
    options: ServeOptions = field(default_factory=ServeOptions)
    wrong_key: Callable[[str], None] = lambda address: None
    keys: Remembered[Account] = field(default_factory=Remembered)
    models: Remembered[ServedModel] = field(default_factory=Remembered)
    trainer: Trainer | None = None
    tuning_happened: Callable[[], None] = lambda: None
    workbench: Workbench | None = None
    community: Community = field(default_factory=Community)
    rates: Rates = field(init=False)
    repeats: Repeats = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        rates = Rates(
            requests=options.requests_per_minute,
            tokens=options.tokens_per_minute,
            processes=options.processes,
        )
        object.__setattr__(self, "rates", rates)
        object.__setattr__(
            self,
            "repeats",
            Repeats(
                keep_seconds=options.repeat_seconds,
                keep_bytes=options.repeat_bytes,
                linger_seconds=options.linger_seconds,
            ),
        )

    async def account(self, secret: str) -> Account:
        """The account of a key. Raises NotAuthorized."""
        now = self.clock.now()
        found = self.keys.get(secret, now)
        if found is None:
            found = await asyncio.to_thread(self.identify, secret)
            self.keys.put(secret, found, until=now + self.options.key_seconds, now=now)
        return found

    async def model(self, name: str, account: Account) -> ServedModel:
        """A model that this account may use, as it was at most ``key_seconds`` ago. Raises NotFound."""
        now = self.clock.now()
        found = self.models.get((account.name, name), now)
        if found is None:
            if not NAME.fullmatch(name):
                raise NotFound(f"the model '{name[:120]}' does not exist", hint="GET /v1/models lists them")
            found = await asyncio.to_thread(self._find, name, account.name)
            self.models.put((account.name, name), found, until=now + self.options.key_seconds, now=now)
        return found

    def _find(self, name: str, account: str) -> ServedModel:
        with self.database.transaction() as connection:
            return find(connection, name, account)


def serve_of(request: Request) -> Serve:
    serve = request.app.state.serve
    assert isinstance(serve, Serve)
    return serve


def secret_in(headers: Mapping[str, Any]) -> str:
    """The key in an Authorization header. Raises NotAuthorized."""
    authorization = headers.get("authorization", "")
    if authorization[:7].lower() != "bearer " or not (secret := authorization[7:].strip()):
        raise NotAuthorized(
            "You didn't provide an API key.", hint="send the header 'Authorization: Bearer KEY'"
        )
    return str(secret)


async def caller_of(request: Request) -> Account:
    """The account that asks."""
    secret = secret_in(request.headers)
    serve = serve_of(request)
    try:
        return await serve.account(secret)
    except NotAuthorized:
        serve.wrong_key(request.client.host if request.client else "unknown")
        raise


def operator(caller: Account) -> None:
    """Raises NotAuthorized for anybody but an operator."""
    if caller.role != "admin":
        raise NotAuthorized(f"a {caller.role} key may not do this", hint="use the operator's key")


ServeDep = Annotated[Serve, Depends(serve_of)]
Caller = Annotated[Account, Depends(caller_of)]
