"""Machines in a list: those that are here, or all, by name, so many a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.core.errors import NotFound
from commonweal.pool import public
from commonweal.pool.public import Machine, Which
from commonweal.web.pool import addresses
from commonweal.web.pool.source import Source
from commonweal.web.pool.trail import POOL
from commonweal.web.site.listing import pager
from commonweal.web.site.page import Link, Page

PER_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow:
    machine: Machine
    path: str
    speed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineListPage(Page):
    template: ClassVar[str] = "machines.html"
    refresh: ClassVar[float] = 2.0

    which: Which
    rows: Sequence[MachineRow]
    here: int
    known: int
    first: int
    pager: Sequence[Link]
    machines_here: Link
    machines_all: Link


def page(source: Source, which: Which, number: int) -> MachineListPage:
    """Raises NotFound beyond the last page."""
    states = public.machines_by_state(source.connection, source.now)
    here, known = sum(states.get(state, 0) for state in public.HERE), sum(states.values())
    pages = max(1, -(-(here if which == "here" else known) // PER_PAGE))
    if not 1 <= number <= pages:
        raise NotFound(
            f"no page {number} of machines", hint=f"the last is {addresses.machines(which, pages)}"
        )
    first = (number - 1) * PER_PAGE
    found = public.machines(source.connection, now=source.now, which=which, first=first, limit=PER_PAGE)
    return MachineListPage(
        path=addresses.machines(which, number),
        title="Machines that are here" if which == "here" else "All machines",
        trail=(POOL,),
        which=which,
        rows=machine_rows(source, found),
        here=here,
        known=known,
        first=first + 1,
        pager=pager(number, pages, lambda n: addresses.machines(which, n)),
        machines_here=Link(text="here now", path=addresses.machines("here", 1)),
        machines_all=Link(text="all", path=addresses.machines("all", 1)),
    )


def machine_rows(source: Source, machines: Sequence[Machine]) -> list[MachineRow]:
    speeds = source.speeds(machines)
    return [MachineRow(machine=one, path=addresses.machine(one.id), speed=speeds[one.id]) for one in machines]
