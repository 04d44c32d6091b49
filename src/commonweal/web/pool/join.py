"""How to lend a machine: the one command, and the machines that came last, which tells a newcomer that it worked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.pool import public
from commonweal.pool.public import Machine
from commonweal.web.pool import addresses
from commonweal.web.pool.source import Source
from commonweal.web.pool.trail import POOL
from commonweal.web.site.page import Page

_NEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPage(Page):
    """``hub`` is the address that the reader came by; ``now`` is the hub's time."""

    template: ClassVar[str] = "join.html"
    refresh: ClassVar[float] = 1.0

    hub: str = ""
    now: float
    newest: Sequence[Machine]


def page(source: Source) -> JoinPage:
    return JoinPage(
        path=addresses.JOIN,
        title="Lend a machine",
        trail=(POOL,),
        now=source.now,
        newest=public.newest_machines(source.connection, now=source.now, limit=_NEWEST),
    )
