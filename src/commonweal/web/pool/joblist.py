"""Jobs in a list: the newest first, so many a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.core.errors import NotFound
from commonweal.pool import public
from commonweal.pool.public import JobLine, Waiting
from commonweal.web.pool import addresses
from commonweal.web.pool.source import Source
from commonweal.web.pool.trail import POOL
from commonweal.web.site.listing import pager
from commonweal.web.site.page import Link, Page

PER_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """``loss`` and ``tokens`` are a training job's, None for another."""

    job: Link
    id: str
    kind: str
    status: str
    rounds: int
    loss: float | None
    tokens: int | None
    at_work: int
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListPage(Page):
    template: ClassVar[str] = "jobs.html"
    refresh: ClassVar[float] = 2.0

    rows: Sequence[JobRow]
    total: int
    pager: Sequence[Link]


def page(source: Source, number: int) -> JobListPage:
    """Raises NotFound beyond the last page."""
    total = sum(public.jobs_by_status(source.connection).values())
    pages = max(1, -(-total // PER_PAGE))
    if not 1 <= number <= pages:
        raise NotFound(f"no page {number} of jobs", hint=f"the last is {addresses.jobs(pages)}")
    found = public.job_list(source.connection, first=(number - 1) * PER_PAGE, limit=PER_PAGE)
    waiting = {one.job: one for one in public.queue(source.connection)}
    return JobListPage(
        path=addresses.jobs(number),
        title="Jobs of the pool",
        trail=(POOL,),
        rows=rows(found, waiting),
        total=total,
        pager=pager(number, pages, addresses.jobs),
    )


def rows(jobs: Sequence[JobLine], waiting: Mapping[str, Waiting]) -> list[JobRow]:
    return [
        JobRow(
            job=Link(text=job.name, path=addresses.job(job.id)),
            id=job.id,
            kind=job.kind,
            status=job.status,
            rounds=job.rounds,
            loss=(job.state.get("losses") or {}).get("last"),
            tokens=(job.state.get("totals") or {}).get("tokens"),
            at_work=waiting[job.id].leased if job.id in waiting else 0,
            updated=job.updated,
        )
        for job in jobs
    ]
