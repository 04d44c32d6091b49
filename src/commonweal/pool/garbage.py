"""The collection of garbage: blobs that nothing names any more.

What names a blob: a job's specification (while the job is there), its current state and checkpoints, and the
results and payloads of units that are not folded yet. Everything else goes once it is old enough that no upload
or fold under way can be about to name it.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.pool.schema import jobs, units

log = logging.getLogger(__name__)


def collect(database: Database, blobs: Blobs, now: float, keep_seconds: float) -> int:
    """Delete the orphans that are older than ``keep_seconds``; returns how many."""
    orphans = [b.hash for b in blobs.all() if b.modified < now - keep_seconds]
    if not orphans:
        return 0
    with database.transaction() as connection:
        named = _named(connection)
    gone = [name for name in orphans if name not in named]
    for name in gone:
        blobs.delete(name)
    if gone:
        log.info("garbage.collected blobs=%d", len(gone))
    return len(gone)


def _named(connection: sa.Connection) -> set[str]:
    """Read after the listing of the store, so what was named meanwhile is in it."""
    named: set[str] = set()
    for row in connection.execute(sa.select(jobs.c.keeps, jobs.c.spec_blobs)):
        named.update(row.keeps)
        named.update(row.spec_blobs)
    results = sa.select(units.c.result).where(units.c.status.in_(["leased", "submitted"]))
    for result in connection.execute(results).scalars():
        named.update((result or {}).get("blobs", {}).values())
    return named
