"""All rounds of a job, so many a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.core.errors import NotFound
from commonweal.pool import public
from commonweal.pool.schema import rounds
from commonweal.web.pool import addresses, history
from commonweal.web.pool.job import RoundRow, round_row
from commonweal.web.pool.source import Source, settings_of
from commonweal.web.pool.trail import JOBS, POOL
from commonweal.web.site.listing import pager
from commonweal.web.site.page import Link, Page

PER_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsPage(Page):
    template: ClassVar[str] = "rounds.html"
    refresh: ClassVar[float] = 0.0

    name: str
    rows: Sequence[RoundRow]
    total: int
    pager: Sequence[Link]


def page(source: Source, job_id: str, number: int) -> RoundsPage:
    """Raises NotFound beyond the last page, and for a job whose rounds are not of training."""
    job = public.job_detail(source.connection, job_id)
    pages = max(1, -(-job.rounds // PER_PAGE))
    if settings_of(job.kind, job.spec) is None or not 1 <= number <= pages:
        raise NotFound(f"no page {number} of rounds", hint=f"the job's page is {addresses.job(job.id)}")
    first = (number - 1) * PER_PAGE
    here = rounds.c.number.between(first, first + PER_PAGE - 1)
    return RoundsPage(
        path=addresses.rounds(job.id, number),
        title=f"{job.name}: rounds",
        trail=(POOL, JOBS, Link(text=job.name, path=addresses.job(job.id))),
        name=job.name,
        rows=[round_row(told) for told in history.read(source.connection, job.id, here, limit=PER_PAGE)],
        total=job.rounds,
        pager=pager(number, pages, lambda n: addresses.rounds(job.id, n)),
    )
