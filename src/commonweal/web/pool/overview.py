"""The pool now: who is here, what waits, how fast it goes, and the jobs under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.pool import public
from commonweal.serve.public import MINUTE, Served, served
from commonweal.train.spec import KIND
from commonweal.web.pool import addresses
from commonweal.web.pool.joblist import JobRow, rows
from commonweal.web.pool.machines import MachineRow, machine_rows
from commonweal.web.pool.progress import tokens_a_second
from commonweal.web.pool.source import Source
from commonweal.web.site.page import Link, Page

_JOBS, _OVER, _MACHINES = 20, 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage(Page):
    template: ClassVar[str] = "overview.html"
    refresh: ClassVar[float] = 1.0

    machines: Mapping[str, int]
    here: int
    known: int
    running: Sequence[JobRow]
    over: Sequence[JobRow]
    statuses: Mapping[str, int]
    queued: int
    leased: int
    submitted: int
    tokens_a_second: float
    served: Served
    answered_a_second: float
    shown: Sequence[MachineRow]
    machines_here: Link
    machines_all: Link
    jobs_all: Link
    join: Link


def page(source: Source) -> OverviewPage:
    connection = source.connection
    states = public.machines_by_state(connection, source.now)
    waiting = {one.job: one for one in public.queue(connection)}
    going = public.job_list(connection, running=True, limit=_JOBS)
    latest = public.job_list(connection, limit=_OVER + _JOBS)
    training = [job for job in going if job.kind == KIND and job.status == "running"]
    speeds = [
        tokens_a_second(source.histories.of(connection, job.id, job.rounds).points, source.now)
        for job in training
    ]
    answers = served(connection, source.now)
    shown = public.machines(connection, now=source.now, which="here", first=0, limit=_MACHINES)
    return OverviewPage(
        path=addresses.OVERVIEW,
        title="The pool",
        machines=states,
        here=sum(states.get(state, 0) for state in public.HERE),
        known=sum(states.values()),
        running=rows(going, waiting),
        over=rows([job for job in latest if job.status not in ("running", "paused")][:_OVER], {}),
        statuses=public.jobs_by_status(connection),
        queued=sum(one.queued for one in waiting.values()),
        leased=sum(one.leased for one in waiting.values()),
        submitted=sum(one.submitted for one in waiting.values()),
        tokens_a_second=sum(speeds),
        served=answers,
        answered_a_second=answers.tokens / MINUTE,
        shown=machine_rows(source, shown),
        machines_here=Link(text="Machines that are here", path=addresses.machines("here", 1)),
        machines_all=Link(text="All machines", path=addresses.machines("all", 1)),
        jobs_all=Link(text="All jobs", path=addresses.jobs(1)),
        join=Link(text="Lend a machine", path=addresses.JOIN),
    )
