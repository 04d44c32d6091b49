"""Watching a job: its rounds as they are folded, and what goes on in between, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from commonweal import console
from commonweal.core.errors import CommonwealError, Unavailable
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.headway import Pace

T = TypeVar("T")

POLL_SECONDS = 0.5
CENSUS_SECONDS = 2.0
"""How often the members at work are counted."""

AWAY_SECONDS = 600.0
"""How long a hub that answered before is waited for."""


class JobFailed(CommonwealError):
    """The job ended, but not well."""

    code = "job_failed"


def watch(client: PoolClient, job: str, *, json: bool) -> wire.JobView:
    """:func:`follow` for a person, who may stop watching at any time: ctrl-c says how to look again."""
    try:
        return follow(client, job, json=json)
    except KeyboardInterrupt:
        console.err.print(
            f"\nnot watching any more; job {console.safe(job)} goes on. To look again:\n"
            f"  commonweal jobs show {console.safe(job)} --follow"
        )
        raise


def follow(
    client: PoolClient,
    job: str,
    *,
    json: bool,
    each: Callable[[wire.RoundView], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> wire.JobView:
    """Show rounds as they come, until the job is done. Raises JobFailed if it ends otherwise, or pauses.

    ``each`` is called after every round, ``meanwhile`` about twice a second; what they raise ends the watching. A
    hub that is away is waited for.
    """
    seen, lines = -1, None if json else console.RoundLines(_Names(client))
    with console.live_line("looking for the job", shown=not json) as say:
        between = _Between(client, say)
        while True:
            view = _patiently(partial(client.job, job), say, meanwhile)
            between.job = view
            for record in _patiently(partial(_rounds, client, job, seen), say, meanwhile):
                seen = record.number
                between.add(record)
                _show(record, lines)
                if each is not None:
                    each(record)
            if view.status not in ("running", "paused") and seen + 1 >= view.rounds:
                return _ended(view)
            if view.status == "paused":
                raise JobFailed(
                    f"job {job} is paused: {view.message}", hint=f"go on with: commonweal jobs resume {job}"
                )
            between.tell()
            if meanwhile is not None:
                meanwhile()
            time.sleep(POLL_SECONDS)


def show(client: PoolClient, job: str, *, json: bool) -> None:
    """What there is of a job now."""
    view = client.job(job)
    rounds = list(client.rounds(job))
    if json:
        console.print_json({"job": view.model_dump(mode="json"), "rounds": [r.model_dump() for r in rounds]})
        return
    console.out.print(console.jobs_table([view]))
    if view.message:
        console.out.print(f"  {console.safe(view.message)}")
    lines = console.RoundLines(_Names(client))
    for record in rounds:
        _show(record, lines)


def totals(view: wire.JobView) -> dict[str, Any]:
    """A training job's sums so far."""
    found = view.state.get("totals")
    return dict(found) if isinstance(found, dict) else {}


@contextmanager
def paused(client: PoolClient, job: str) -> Iterator[None]:
    """The job lends nothing meanwhile."""
    client.pause(job)
    try:
        yield
    finally:
        client.resume(job, 0)


class _Names:
    """What members call themselves, asked for when one has to be named."""

    def __init__(self, client: PoolClient) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def __call__(self, member: str) -> str:
        if member not in self._known:
            self._known = {row.id: row.name for row in self._client.members()}
        return self._known.get(member, member)


class _Between:
    """The live line between two rounds."""

    def __init__(self, client: PoolClient, say: Callable[[str], None]) -> None:
        self.job: wire.JobView | None = None
        self._client, self._say = client, say
        self._pace = Pace()
        self._since, self._counted_at = time.monotonic(), 0.0
        self._members: dict[str, int] = {}

    def add(self, record: wire.RoundView) -> None:
        self._since = time.monotonic()
        self._pace.add(record.at, record.record)

    def tell(self) -> None:
        now = time.monotonic()
        if now - self._counted_at > CENSUS_SECONDS:
            try:
                self._members, self._counted_at = self._client.status().members, now
            except Unavailable:
                return
        if self.job is not None:
            settings = self.job.spec.get("settings", {})
            share, left = self._pace.share(settings), self._pace.seconds_left(settings)
            self._say(console.progress_line(self.job, self._members, now - self._since, share, left))


def _patiently(ask: Callable[[], T], say: Callable[[str], None], meanwhile: Callable[[], None] | None) -> T:
    """Ask a hub that answered before, for as long as a restart may take."""
    since = time.monotonic()
    while True:
        try:
            return ask()
        except Unavailable as error:
            if time.monotonic() - since > AWAY_SECONDS:
                raise
            say(f"the hub does not answer; the job goes on when it is back ({error.message})")
            if meanwhile is not None:
                meanwhile()
            time.sleep(POLL_SECONDS)


def _rounds(client: PoolClient, job: str, after: int) -> list[wire.RoundView]:
    return list(client.rounds(job, after))


def _show(record: wire.RoundView, lines: console.RoundLines | None) -> None:
    if lines is None:
        console.print_json_line(record)
    else:
        lines.add(record.record)


def _ended(view: wire.JobView) -> wire.JobView:
    if view.status != "done":
        message = f": {view.message}" if view.message else ""
        raise JobFailed(
            f"job {view.id} {view.status}{message}", hint=f"its rounds: commonweal jobs show {view.id}"
        )
    return view
