"""How much an account may have uploaded that nothing names yet, so that no stranger can fill the store.

A blob counts from the first byte on, at the size that was announced for it, until a job or a result names it (whoever
submits that), or until the collection of garbage has taken it. Nothing here knows where the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from commonweal.core.errors import Refused
from commonweal.core.hashing import BlobHash
from commonweal.pool.schema import uploads

LEAST = 4096
"""The least that a blob counts as, in bytes: what an empty file and its row take of a disk as well."""


class QuotaExceeded(Refused):
    """Not a matter of seconds, so not one for trying again by itself."""

    code = "upload_quota"
    status = 413


def reserve(
    connection: sa.Connection, owner: str, blob: BlobHash, size: int, *, most: int, now: float
) -> None:
    """Count ``size`` bytes of ``blob`` as ``owner``'s. The same blob again counts once, at the largest size that was
    ever announced: what arrived of it stays. Raises QuotaExceeded, having counted nothing."""
    size = max(size, LEAST)
    lock = sa.func.hashtextextended(f"uploads of {owner}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    others = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.size), 0)).where(
        uploads.c.owner == owner, uploads.c.blob != blob
    )
    already = int(connection.execute(others).scalar_one())
    if already + size > most:
        raise QuotaExceeded(
            f"{_shown(size)} more would make {_shown(already + size)} of uploads that nothing names yet, and "
            f"{_shown(most)} are allowed",
            hint="submit what they are for, or wait: what nothing names goes after an hour; "
            "the operator can allow more (--upload-quota)",
        )
    new = insert(uploads).values(blob=blob, owner=owner, size=size, at=now)
    largest = sa.func.greatest(uploads.c.size, new.excluded.size)
    connection.execute(
        new.on_conflict_do_update(index_elements=["blob", "owner"], set_={"size": largest, "at": now})
    )


def arrived(connection: sa.Connection, owner: str, blob: BlobHash, size: int) -> None:
    """Note that more came than was announced, where the store itself took the bytes."""
    mine = sa.and_(uploads.c.blob == blob, uploads.c.owner == owner)
    connection.execute(uploads.update().where(mine).values(size=sa.func.greatest(uploads.c.size, size)))


def forget(connection: sa.Connection, blobs: Iterable[str]) -> None:
    """These are named now, or gone: nobody's uploads any more."""
    names = list(blobs)
    if not names:
        return
    among = uploads.c.blob == sa.any_(sa.cast(names, ARRAY(sa.Text)))
    # Locked in one order: two jobs may name the same blobs at the same time.
    locked = (
        sa.select(uploads.c.blob, uploads.c.owner)
        .where(among)
        .order_by(uploads.c.blob, uploads.c.owner)
        .with_for_update()
    )
    if connection.execute(locked).first() is not None:
        connection.execute(uploads.delete().where(among))


def untouched(connection: sa.Connection, before: float) -> list[BlobHash]:
    """Blobs that nobody has gone on uploading since that time."""
    recent = sa.select(uploads.c.blob).where(uploads.c.at >= before)
    old = sa.select(uploads.c.blob).where(uploads.c.at < before, uploads.c.blob.not_in(recent)).distinct()
    return [BlobHash(blob) for blob in connection.execute(old).scalars()]


def _shown(size: int) -> str:
    """
    >>> _shown(16_000_000_000), _shown(70_996)
    ('16.0 GB', '0.1 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
