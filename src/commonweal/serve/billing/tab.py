"""A tab: what one hub process has set aside of one account, and what its asks take of it. Pure; no database.

The ledger would be too slow for a hold and a capture of every ask. So a process holds a chunk of an account's credits,
every ask reserves on the tab the most that it may cost, and what it did cost is owed until the next settlement captures
the sum. Invariant: what is reserved and owed never exceeds what the ledger holds, so every bill can be paid:

    reserved + owed <= held          free = held - reserved - owed

But for one case: a process that was taken for dead loses its chunks, and what it owed then is drawn on no hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from commonweal.ledger.accounts import HUB

Outcome = Literal["done", "cancelled", "failed", "lost", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one ask came to. ``payee`` is the worker's account, None where nobody is paid; ``accepted`` is how much of
    that member's work was found good so far."""

    ask: str
    account: str
    model: str
    member: str | None
    prompt_tokens: int
    completion_tokens: int
    microcredits: int
    outcome: Outcome
    at: float
    payee: str | None = None
    accepted: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Pay these from one hold (None: it is gone, another must be made). ``key`` is the journal's."""

    key: str
    hold: str | None
    account: str
    payees: Mapping[str, int]
    accepted: Mapping[str, int]

    @property
    def microcredits(self) -> int:
        return sum(self.payees.values())


@dataclass(slots=True)
class Chunk:
    """A hold of the ledger, and what remains of it when everything that was settled is captured."""

    key: str
    remaining: int
    draws: int = 0


@dataclass(slots=True)
class Tab:
    """``fee`` is the hub's share of each bill, in thousandths. ``used`` is when an ask last came."""

    account: str
    fee: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    reserved: int = 0
    owed: int = 0
    open_asks: int = 0
    used: float = 0.0
    bills: list[Bill] = field(default_factory=list)

    @property
    def held(self) -> int:
        return sum(chunk.remaining for chunk in self.chunks)

    @property
    def free(self) -> int:
        return self.held - self.reserved - self.owed

    @property
    def idle(self) -> bool:
        return not self.open_asks and not self.bills

    def reserve(self, most: int, now: float) -> bool:
        """Set the most that an ask may cost aside, if there is enough."""
        if most > self.free:
            return False
        self.reserved += most
        self.open_asks += 1
        self.used = now
        return True

    def shrink(self, by: int) -> None:
        """An ask costs less than it might have."""
        self.reserved -= by

    def settle(self, reserved: int, bill: Bill) -> None:
        """The ask is over; it costs no more than was reserved for it."""
        if not 0 <= bill.microcredits <= reserved:
            raise ValueError(f"a bill of {bill.microcredits} with {reserved} reserved")
        self.reserved -= reserved
        self.open_asks -= 1
        self.owed += bill.microcredits
        self.bills.append(bill)
        self.used = max(self.used, bill.at)

    def add(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def draw(self, number: int) -> tuple[list[Draw], list[Bill]]:
        """Everything that is owed, drawn on the chunks, oldest first. ``number`` names it, and is never used again."""
        bills, self.bills, self.owed = self.bills, [], 0
        due = _due(bills, self.fee)
        accepted = {bill.payee: bill.accepted for bill in bills if bill.payee is not None}
        draws: list[Draw] = []
        for chunk in self.chunks:
            taken = _taken(due, chunk.remaining)
            if taken:
                chunk.remaining -= sum(taken.values())
                chunk.draws += 1
                draws.append(self._draw(f"{chunk.key}:{chunk.draws}", chunk.key, taken, accepted))
        if due:
            draws.append(self._draw(f"tab:{self.account}:late:{number}", None, dict(due), accepted))
        return draws, bills

    def forget(self, keys: Sequence[str]) -> None:
        """Chunks that are gone: used up, given back, or taken away."""
        self.chunks = [chunk for chunk in self.chunks if chunk.key not in keys]

    def spent(self) -> list[str]:
        """The keys of the chunks of which nothing is left."""
        return [chunk.key for chunk in self.chunks if not chunk.remaining]

    def _draw(
        self, key: str, hold: str | None, payees: Mapping[str, int], accepted: Mapping[str, int]
    ) -> Draw:
        known = {name: accepted[name] for name in payees if name in accepted}
        return Draw(key=key, hold=hold, account=self.account, payees=payees, accepted=known)


def shares(microcredits: int, fee: int) -> tuple[int, int]:
    """What the worker and the hub get of a bill; ``fee`` is in thousandths.

    >>> shares(99, 100)
    (90, 9)
    """
    hub = microcredits * fee // 1000
    return microcredits - hub, hub


def _due(bills: Sequence[Bill], fee: int) -> Counter[str]:
    due: Counter[str] = Counter()
    for bill in bills:
        worker, hub = shares(bill.microcredits, fee)
        if bill.payee is None:
            worker, hub = 0, bill.microcredits
        if worker:
            due[bill.payee or HUB] += worker
        if hub:
            due[HUB] += hub
    return due


def _taken(due: Counter[str], most: int) -> dict[str, int]:
    """As much of what is due as ``most`` allows; it is taken off ``due``."""
    taken: dict[str, int] = {}
    for payee in sorted(due):
        part = min(due[payee], most)
        if part:
            taken[payee] = part
            most -= part
            due[payee] -= part
            if not due[payee]:
                del due[payee]
    return taken
