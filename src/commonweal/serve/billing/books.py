"""The books of a hub process: tabs in memory, settled with the ledger a few times a second.

Only memory is touched while asks come and go; the database is asked when a tab needs another chunk, and every
``every`` seconds for everything that is owed. A batch is repeated until it is written: what it does has keys, so
twice is once. If this process dies, what it had not settled is lost to the workers and free to the users, its holds
are released by another, and the books are exact all the same."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa

from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError, InsufficientCredits
from commonweal.ledger.amounts import MICRO
from commonweal.ledger.escrow import EscrowPolicy
from commonweal.serve.billing.settlement import (
    Batch,
    Settled,
    Standing,
    open_chunk,
    release_abandoned,
    release_holds,
    settle,
)
from commonweal.serve.billing.tab import Bill, Chunk, Tab

log = logging.getLogger(__name__)
T = TypeVar("T")


def as_connected(connection: sa.Connection, accounts: object) -> Mapping[str, int]:
    """No news of anybody's standing: what was known when the member connected holds."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOptions:
    """``fee`` is the hub's share in thousandths, ``chunk`` the micro-credits that are held at once. Seconds: a tab
    unused for ``idle`` is released; a process silent for ``silent`` has lost its tabs."""

    fee: int = 100
    chunk: int = 5 * MICRO
    every: float = 0.25
    idle: float = 10.0
    silent: float = 60.0
    policy: EscrowPolicy = field(default_factory=EscrowPolicy)


@dataclass(slots=True)
class Reservation:
    """What is set aside for one ask; to be settled once."""

    tab: Tab
    most: int
    open: bool = True


class Books:
    """``hub`` names this process and is never used by another, not even by the same one started again."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], float],
        hub: str,
        options: BookOptions | None = None,
        *,
        standing: Standing = as_connected,
    ) -> None:
        self._database, self._now, self._hub = database, now, hub
        self.options = options or BookOptions()
        self._standing = standing
        self._tabs: dict[str, Tab] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._wishes: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._doubtful: set[str] = set()
        self._batch: Batch | None = None
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="books")
        self._settling = asyncio.Lock()

    async def reserve(self, account: str, most: int) -> Reservation:
        """Set the most that an ask may cost aside. Raises InsufficientCredits at once, and Unavailable."""
        tab = self._tab(account)
        if not tab.reserve(most, self._now()):
            tab = await self._with_more(account, most)
        return Reservation(tab, most)

    def shrink(self, reservation: Reservation, most: int) -> None:
        """It will not cost more than this."""
        if most < reservation.most:
            reservation.tab.shrink(reservation.most - most)
            reservation.most = most

    def settle(self, reservation: Reservation, bill: Bill) -> None:
        """The ask is over. What it costs is captured with the next settlement."""
        if not reservation.open:
            raise ValueError("a reservation is settled once")
        reservation.open = False
        reservation.tab.settle(reservation.most, bill)

    def record(self, bill: Bill) -> None:
        """An ask that costs nothing and for which nothing was reserved."""
        tab = self._tab(bill.account)
        tab.reserve(0, self._now())
        tab.settle(0, bill)

    async def run(self) -> None:
        """Settle a few times a second, until cancelled."""
        swept = self._now()
        while True:
            await asyncio.sleep(self.options.every)
            try:
                await self.flush()
                if self._now() - swept > self.options.silent / 4:
                    swept = self._now()
                    await self._in_thread(self._sweep)
            except CommonwealError as error:  # the database is away: the batch is kept and written later
                log.warning("books.wait error=%s", error.message)
                await asyncio.sleep(1.0)
            except Exception:
                log.exception("books.failed")
                await asyncio.sleep(1.0)

    async def flush(self, *, everything: bool = False) -> None:
        """Settle what is owed now. ``everything``: also give back what is held."""
        async with self._settling:
            if self._batch is None:
                batch = self._collect(everything)
                if batch.empty:
                    return
                self._batch = batch
            settled = await self._in_thread(self._write, self._batch)
            self._batch = None
            for tab in self._tabs.values():
                tab.forget(list(settled.gone))

    async def close(self) -> None:
        """Settle everything and give back the rest. Raises Unavailable if the database is away; another process
        gives it back then."""
        try:
            await self.flush()
            await self.flush(everything=True)
        finally:
            self._threads.shutdown(wait=False)

    def state(self) -> dict[str, int]:
        """Sums over all tabs, for a live view."""
        tabs = self._tabs.values()
        return {
            "tabs": len(self._tabs),
            "held": sum(tab.held for tab in tabs),
            "reserved": sum(tab.reserved for tab in tabs),
            "owed": sum(tab.owed for tab in tabs),
        }

    def _tab(self, account: str) -> Tab:
        tab = self._tabs.get(account)
        if tab is None:
            tab = self._tabs[account] = Tab(account, self.options.fee)
        return tab

    async def _with_more(self, account: str, most: int) -> Tab:
        """Get another chunk, for all that wait for one of this account. Returns the tab with ``most`` reserved."""
        self._wishes[account] = self._wishes.get(account, 0) + most
        try:
            async with self._locks.setdefault(account, asyncio.Lock()):
                tab = self._tab(account)
                if tab.reserve(most, self._now()):
                    return tab
                chunk = await self._chunk(account, max(0, most - tab.free))
                tab = self._tab(account)
                tab.add(chunk)
                if not tab.reserve(most, self._now()):  # a chunk was taken away in between
                    raise InsufficientCredits(f"{account} cannot pay {most} micro-credits just now")
                return tab
        finally:
            self._wishes[account] -= most
            if not self._wishes[account]:
                del self._wishes[account]

    async def _chunk(self, account: str, needed: int) -> Chunk:
        key = f"tab:{self._hub}:{next(self._numbers)}"
        wished = max(self.options.chunk, self._wishes.get(account, 0))
        try:
            return Chunk(key, await self._in_thread(self._open, key, account, needed, wished))
        except InsufficientCredits:
            raise
        except BaseException:  # it may have been committed all the same: the sweep looks
            self._doubtful.add(key)
            raise

    def _open(self, key: str, account: str, needed: int, wished: int) -> int:
        with self._database.transaction() as connection:
            return open_chunk(
                connection,
                key=key,
                hub=self._hub,
                account=account,
                needed=needed,
                wished=wished,
                now=self._now(),
            )

    def _collect(self, everything: bool) -> Batch:
        """What the next settlement does. It leaves the tabs: from now on the batch must be written."""
        draws, bills, spent, ended = [], [], [], []
        now = self._now()
        for account, tab in list(self._tabs.items()):
            if tab.bills:
                made, told = tab.draw(next(self._numbers))
                draws += made
                bills += told
            used_up = tab.spent()
            spent += used_up
            tab.forget(used_up)
            if (
                tab.idle
                and account not in self._wishes
                and (everything or now - tab.used > self.options.idle)
            ):
                ended += [chunk.key for chunk in tab.chunks]
                del self._tabs[account]
                self._locks.pop(account, None)
        return Batch(draws=tuple(draws), bills=tuple(bills), spent=tuple(spent), ended=tuple(ended))

    def _write(self, batch: Batch) -> Settled:
        with self._database.transaction() as connection:
            return settle(
                connection, batch, policy=self.options.policy, standing=self._standing, now=self._now()
            )

    def _sweep(self) -> None:
        with self._database.transaction() as connection:
            count = release_abandoned(connection, silent=self.options.silent, now=self._now())
        if count:
            log.warning("books.released holds=%d of processes that are gone", count)
        doubtful = set(self._doubtful)
        if doubtful:
            with self._database.transaction() as connection:
                release_holds(connection, sorted(doubtful), now=self._now())
            self._doubtful -= doubtful

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
