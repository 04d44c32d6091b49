"""The collection of garbage: blobs that nothing names any more.

What names a blob: a job's specification (while the job is there), its current state and checkpoints, the results of
units that are not folded yet, and whatever those say who are asked besides (served models, files). Everything else goes
once it is old enough that no upload or fold under way can be about to name it; storing a blob again makes it new again
(see :meth:`commonweal.core.blobs.Blobs.keep`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.pool import quota
from commonweal.pool.schema import jobs, units

log = logging.getLogger(__name__)

Naming = Callable[[sa.Connection], Iterable[BlobHash]]
"""Says which blobs somebody still needs."""


def collect(
    database: Database, blobs: Blobs, now: float, keep_seconds: float, also: Sequence[Naming] = ()
) -> int:
    """Delete the orphans that are older than ``keep_seconds``; returns how many."""
    before = now - keep_seconds
    blobs.drop_incoming(before)
    orphans = [b.hash for b in blobs.all() if b.modified < before]
    if not orphans:
        return 0
    with database.transaction() as connection:
        named = _named(connection).union(*(naming(connection) for naming in also))
    gone = [name for name in orphans if name not in named and blobs.is_older(name, before)]
    for name in gone:
        blobs.delete(name)
    with database.transaction() as connection:
        quota.forget(connection, gone)
    if gone:
        log.info("garbage.collected blobs=%d", len(gone))
    return len(gone)


def sweep(folder: Path, now: float, keep_seconds: float) -> int:
    """Delete the parts of uploads that nobody has gone on with for ``keep_seconds``; returns how many."""
    old = [part for part in folder.glob("*.part") if part.stat().st_mtime < now - keep_seconds]
    for part in old:
        part.unlink(missing_ok=True)
    return len(old)


def forget_abandoned(database: Database, blobs: Blobs, now: float, keep_seconds: float) -> int:
    """Count no more the uploads that were given up, and of which :func:`sweep` left nothing; returns how many. What is
    in the store still counts, until :func:`collect` takes it."""
    with database.transaction() as connection:
        old = quota.untouched(connection, now - keep_seconds)
    gone = [name for name in old if not blobs.has(name)]
    with database.transaction() as connection:
        quota.forget(connection, gone)
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
