"""Watching a job: its rounds as they are folded, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from commonweal import console
from commonweal.core.errors import CommonwealError
from commonweal.pool import wire
from commonweal.pool.client import PoolClient

POLL_SECONDS = 0.5


class JobFailed(CommonwealError):
    """The job ended, but not well."""

    code = "job_failed"


def follow(
    client: PoolClient, job: str, *, json: bool, each: Callable[[wire.RoundView], None] | None = None
) -> wire.JobView:
    """Show rounds as they come, until the job is done. Raises JobFailed if it ends otherwise, or pauses because
    its budget is used up. Ctrl-c stops watching; the job goes on."""
    seen, lines = -1, None if json else console.RoundLines()
    while True:
        view = client.job(job)
        for record in client.rounds(job, seen):
            seen = record.number
            _show(record, lines)
            if each is not None:
                each(record)
        if view.status not in ("running", "paused") and seen + 1 >= view.rounds:
            return _ended(view)
        if view.status == "paused":
            raise JobFailed(f"job {job} is paused: {view.message}", hint=f"commonweal jobs resume {job}")
        time.sleep(POLL_SECONDS)


def show(client: PoolClient, job: str, *, json: bool) -> None:
    """What there is of a job now."""
    view = client.job(job)
    rounds = list(client.rounds(job))
    if json:
        console.print_json({"job": view.model_dump(mode="json"), "rounds": [r.model_dump() for r in rounds]})
        return
    console.out.print(console.jobs_table([view]))
    lines = console.RoundLines()
    for record in rounds:
        _show(record, lines)


def _show(record: wire.RoundView, lines: console.RoundLines | None) -> None:
    if lines is None:
        console.print_json_line(record)
    else:
        lines.add(record.record)


def _ended(view: wire.JobView) -> wire.JobView:
    if view.status != "done":
        raise JobFailed(f"job {view.id} {view.status}: {view.message}", hint="see commonweal jobs show")
    return view


def totals(view: wire.JobView) -> dict[str, Any]:
    """A training job's sums so far."""
    found = view.state.get("totals")
    return dict(found) if isinstance(found, dict) else {}
