"""Guards of an improvement: scenarios at which the next version must not be worse. Who evaluates is handed in, because
this package does not.

An evaluation asks by a function that it is given: the hub's own desk, on the account of whoever wants the improvement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from commonweal.core.completion import Completion, Request
from commonweal.core.errors import UserError
from commonweal.serve.community.gate import Scenario

AskModel = Callable[[Request], Awaitable[Completion]]
"""Answers a request, in the event loop in which ``compare`` was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A scenario that can be a guard. ``offline``: it needs no data of others."""

    name: str
    title: str
    about: str
    metric: str
    offline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """Both models are asked ``instances`` instances of each of ``names``. What was asked for the same ``id`` before
    need not be asked again. ``window``: tokens that both models can read."""

    id: str
    names: tuple[str, ...]
    instances: int
    current: str
    candidate: str
    window: int


class Guards(Protocol):
    """Evaluates."""

    def known(self) -> Sequence[Known]:
        """What can be asked for, what needs no data first."""
        ...

    def named(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names as results will have them. Raises UserError for one that is not known, with the nearest, and for
        one that cannot be measured here."""
        ...

    async def compare(
        self, guarding: Guarding, ask: AskModel, say: Callable[[str], None]
    ) -> Sequence[Scenario]:
        """Both models on all guards. One that could not be measured is left out, and ``say`` is told why. Raises what
        ``ask`` raises where nothing can be asked at all."""
        ...


class NoGuards:
    """Of a hub that does not evaluate."""

    def known(self) -> Sequence[Known]:
        return ()

    def named(self, names: Sequence[str]) -> tuple[str, ...]:
        if names:
            raise UserError("guards: this hub evaluates nothing", hint="leave them out")
        return ()

    async def compare(
        self, guarding: Guarding, ask: AskModel, say: Callable[[str], None]
    ) -> Sequence[Scenario]:
        return ()
