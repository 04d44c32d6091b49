"""One machine: what it is, what it does now, what it contributed over time. What it earned is its owner's to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from commonweal.pool import public
from commonweal.pool.public import Machine
from commonweal.train.refusals import REFUSALS
from commonweal.web.pool import addresses, history
from commonweal.web.pool.source import Source
from commonweal.web.pool.trail import MACHINES, POOL
from commonweal.web.site.lines import Series, lines
from commonweal.web.site.page import Link, Page

_JOBS, _ROUNDS, _SHOWN = 5, 100, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What it does at this moment."""

    job: Link
    done: int
    asked: int
    handed_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionRow:
    """Its part of one round. ``meaning`` explains the verdict where that is not "ok"."""

    number: int
    at: float
    tokens: int
    steps: int
    loss: float | None
    sent: int
    verdict: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPart:
    """What it did for one job, in the job's latest rounds: it took part in ``taken`` of ``rounds``."""

    job: Link
    status: str
    taken: int
    rounds: int
    tokens: int
    refused: int
    chart: Markup
    rows: Sequence[ContributionRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePage(Page):
    template: ClassVar[str] = "machine.html"
    refresh: ClassVar[float] = 3.0

    machine: Machine
    speed: str
    now: Sequence[Now]
    parts: Sequence[JobPart]


def page(source: Source, member: str) -> MachinePage:
    """Raises NotFound."""
    machine = public.machine(source.connection, member, source.now)
    doing = public.at_work(source.connection, member=member, limit=16)
    jobs = public.jobs_of(source.connection, member, _JOBS)
    known = public.job_lines(source.connection, {*jobs, *(part.job for part in doing)})
    return MachinePage(
        path=addresses.machine(member),
        title=machine.name,
        trail=(POOL, MACHINES),
        machine=machine,
        speed=source.speed(machine),
        now=[
            Now(job=_link(part.job, known), done=part.done, asked=part.asked, handed_in=part.handed_in)
            for part in doing
        ],
        parts=[_part(source, known[job], member) for job in jobs if job in known],
    )


def _link(job: str, known: Any) -> Link:
    return Link(text=known[job].name if job in known else job, path=addresses.job(job))


def _part(source: Source, job: public.JobLine, member: str) -> JobPart:
    found = history.by_member(source.connection, job.id, member, limit=_ROUNDS)
    rows = [_row(number, at, part) for number, at, part in found if part]
    counted = [row for row in rows if row.verdict == "ok"]
    return JobPart(
        job=Link(text=job.name, path=addresses.job(job.id)),
        status=job.status,
        taken=len(rows),
        rounds=len(found),
        tokens=sum(row.tokens for row in counted),
        refused=len(rows) - len(counted),
        chart=_chart(job.name, found),
        rows=rows[: -_SHOWN - 1 : -1],
    )


def _row(number: int, at: float, part: Any) -> ContributionRow:
    verdict = str(part.get("verdict", "ok"))
    return ContributionRow(
        number=number,
        at=at,
        tokens=int(part.get("tokens") or 0),
        steps=int(part.get("steps") or 0),
        loss=part.get("loss"),
        sent=int(part.get("up_bytes") or 0),
        verdict=verdict,
        meaning=REFUSALS.get(verdict, ""),
    )


def _chart(name: str, found: Sequence[tuple[int, float, Any]]) -> Markup:
    points = [
        (number, float(part.get("tokens") or 0) if part and part.get("verdict") == "ok" else 0.0)
        for number, _, part in found
    ]
    return lines(
        f"Tokens that counted, by round of {name}",
        [Series(name="tokens", kind="a", points=points)],
        across="round",
        counts=True,
    )
