"""Jobs over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from commonweal.core.errors import Conflict, InsufficientCredits, NotFound
from commonweal.pool import registry, wire
from commonweal.pool.access import Caller
from commonweal.pool.api.context import Anyone, HubDep
from commonweal.pool.api.faults import documented

router = APIRouter(prefix=f"{wire.PREFIX}/jobs", tags=["jobs"])
JobId = Annotated[str, Path(pattern=r"^job_[0-9a-z]{16}$")]
_ONLY_RESUME = wire.Resume()


@router.post("", status_code=201, responses=documented(InsufficientCredits))
def submit(body: wire.NewJob, hub: HubDep, caller: Anyone) -> wire.JobView:
    """Submit a job. Its owner is the caller's account, which pays for it."""
    prepared = registry.prepare_job(body, hub.factories, hub.blobs)
    with hub.database.transaction() as connection:
        return registry.submit_job(connection, prepared, caller, hub.clock.now())


@router.get("")
def every(
    hub: HubDep,
    caller: Anyone,
    status: wire.JobStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[wire.JobView]:
    """The newest jobs first."""
    with hub.database.transaction() as connection:
        return [_seen_by(caller, view) for view in registry.list_jobs(connection, status=status, limit=limit)]


@router.get("/{job}", responses=documented(NotFound))
def one(job: JobId, hub: HubDep, caller: Anyone) -> wire.JobView:
    """One job."""
    with hub.database.transaction() as connection:
        return _seen_by(caller, registry.find_job(connection, job))


@router.get("/{job}/rounds", responses=documented(NotFound))
def rounds(
    job: JobId,
    hub: HubDep,
    _: Anyone,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[wire.RoundView]:
    """Round records with a number above ``after``, oldest first."""
    with hub.database.transaction() as connection:
        registry.find_job(connection, job)
        return registry.list_rounds(connection, job, after=after, limit=limit)


@router.post("/{job}/cancel", responses=documented(NotFound))
def cancel(job: JobId, hub: HubDep, caller: Anyone) -> wire.JobView:
    """Stop a job for good."""
    with hub.database.transaction() as connection:
        return registry.cancel(connection, job, caller, hub.clock.now())


@router.post("/{job}/pause", responses=documented(NotFound, Conflict))
def pause(job: JobId, hub: HubDep, caller: Anyone) -> wire.JobView:
    """Lend no more units of a job until it is resumed."""
    with hub.database.transaction() as connection:
        return registry.pause(connection, job, caller, hub.clock.now())


@router.post("/{job}/resume", responses=documented(NotFound, Conflict, InsufficientCredits))
def resume(job: JobId, hub: HubDep, caller: Anyone, body: wire.Resume = _ONLY_RESUME) -> wire.JobView:
    """Go on with a paused job, perhaps with a larger budget (micro-credits)."""
    with hub.database.transaction() as connection:
        return registry.resume(connection, job, caller, body, hub.clock.now())


def _seen_by(caller: Caller, view: wire.JobView) -> wire.JobView:
    """A specification may name what those who do the work must not know (the text that they are scored on), so
    members see only their own jobs' ones."""
    if caller.role == "member" and view.owner != caller.owner:
        return view.model_copy(update={"spec": {}})
    return view
