"""The asks that wait, and who is next: fair between accounts, by priority, and nobody for ever.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with two changes. An account's tag is looked at when a slot is
free and not when the ask arrives, so that an account's own order is by priority; and both priority and waiting count
as seconds of service: one step of priority is ``level`` seconds, and every ``aging`` seconds of waiting are one step.
So an account with a thousand asks delays another's first one by one answer, and an ask of low priority is passed by
for a bounded time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from commonweal.serve.router.worker import RouterOptions, Wanted


@dataclass(slots=True)
class Queue:
    """``finish`` is when an account's service so far would end, in virtual seconds; ``virtual`` is the time now."""

    options: RouterOptions
    virtual: float = 0.0
    finish: dict[str, float] = field(default_factory=dict)
    _lines: dict[str, dict[str, list[tuple[float, str, Wanted]]]] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def add(self, wanted: Wanted) -> None:
        line = self._lines.setdefault(wanted.identity, {}).setdefault(wanted.account, [])
        insort(line, (self._rank(wanted), wanted.id, wanted))
        self._count += 1

    def remove(self, wanted: Wanted) -> bool:
        """Whether it was there."""
        accounts = self._lines.get(wanted.identity, {})
        line = accounts.get(wanted.account, [])
        for place, (_, name, _) in enumerate(line):
            if name == wanted.id:
                del line[place]
                self._count -= 1
                if not line:
                    del accounts[wanted.account]
                if not accounts:
                    del self._lines[wanted.identity]
                return True
        return False

    def next(self, models: Iterable[str], fits: Callable[[Wanted], bool]) -> Wanted | None:
        """The ask whose turn it is among those for ``models`` that fit; it stays in the queue."""
        best: tuple[float, str] | None = None
        found: Wanted | None = None
        for model in models:
            for account, line in self._lines.get(model, {}).items():
                tag = max(self.virtual, self.finish.get(account, 0.0))
                for rank, name, wanted in line:
                    if best is not None and (tag + rank, name) >= best:
                        break
                    if fits(wanted):
                        best, found = (tag + rank, name), wanted
                        break
        return found

    def served(self, account: str, seconds: float) -> None:
        """An account was given a slot for about so many seconds."""
        start = max(self.virtual, self.finish.get(account, 0.0))
        self.finish[account] = start + seconds
        self.virtual = max(self.virtual, min(start, self._earliest(start)))
        if len(self.finish) > 10_000:
            self.finish = {name: tag for name, tag in self.finish.items() if tag > self.virtual}

    def ahead(self, wanted: Wanted) -> int:
        """How many asks for the same model would go before a new one of this account."""
        accounts = self._lines.get(wanted.identity, {})
        mine = len(accounts.get(wanted.account, ()))
        others = sum(min(len(line), mine + 1) for name, line in accounts.items() if name != wanted.account)
        return mine + others

    def waiting(self, identity: str) -> int:
        return sum(len(line) for line in self._lines.get(identity, {}).values())

    def models(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def every(self) -> Iterator[Wanted]:
        for accounts in list(self._lines.values()):
            for line in list(accounts.values()):
                for _, _, wanted in list(line):
                    yield wanted

    def _rank(self, wanted: Wanted) -> float:
        """Constant while it waits: of two asks, both age alike."""
        return (wanted.since / self.options.aging - wanted.priority) * self.options.level

    def _earliest(self, start: float) -> float:
        """The lowest tag among the accounts that wait: virtual time does not pass them."""
        tags = (self.finish.get(name, 0.0) for accounts in self._lines.values() for name in accounts)
        return min((max(self.virtual, tag) for tag in tags), default=start)
