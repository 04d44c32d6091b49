"""Files that arrive in parts: an upload is announced, its parts come in any order, and it is completed once.

Parts are blobs, and belong to the upload until it is completed, cancelled or too old. What they make together is read
through once more, to be hashed as one; the file that comes of it has an id that follows from the upload's, so
completing it twice makes one file.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import Conflict, NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import new_id
from commonweal.serve.files import shelf
from commonweal.serve.files.receiving import TooLarge
from commonweal.serve.files.schema import parts, uploads
from commonweal.serve.files.shelf import StoredFile

OPEN_SECONDS = 86_400.0
LARGEST_UPLOAD = 8 * 2**30
LARGEST_PART = 64 * 2**20
_IN_MEMORY = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """``size`` is what was announced, ``file`` what became of it."""

    id: str
    owner: str
    filename: str
    purpose: str
    size: int
    status: str
    created: float
    expires: float
    keep_seconds: float | None
    file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    id: str
    upload: str
    blob: BlobHash
    size: int
    created: float


def begin(
    connection: sa.Connection,
    *,
    owner: str,
    filename: str,
    purpose: str,
    size: int,
    keep_seconds: float | None,
    most: int,
    now: float,
) -> Upload:
    """Announce a file of ``size`` bytes, which count against the account's quota from now on. Raises QuotaExceeded."""
    shelf.check_quota(connection, owner, size, most)
    upload = new_id("upload")
    connection.execute(
        sa.insert(uploads).values(
            id=upload,
            owner=owner,
            filename=shelf.checked_name(filename),
            purpose=purpose,
            size=size,
            created=now,
            expires=now + OPEN_SECONDS,
            keep_seconds=keep_seconds,
        )
    )
    return find(connection, upload, owner, now)


def find(connection: sa.Connection, upload: str, owner: str, now: float, *, lock: bool = False) -> Upload:
    """An upload of ``owner``'s. Raises NotFound, also for one whose time is over."""
    mine = (uploads.c.id == upload, uploads.c.owner == owner, uploads.c.expires > now)
    query = sa.select(uploads).where(*mine)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"no upload '{upload[:80]}'", hint="begin a new one with POST /v1/uploads")
    return Upload(**row._mapping)


def add_part(
    connection: sa.Connection, upload: str, owner: str, blob: BlobHash, size: int, now: float
) -> Part:
    """Enter a part that is stored. Raises Conflict for an upload that is over, and TooLarge for parts that make far
    more than was announced (some may be sent twice)."""
    found = _pending(find(connection, upload, owner, now, lock=True))
    already = sa.select(sa.func.coalesce(sa.func.sum(parts.c.size), 0)).where(parts.c.upload == upload)
    if int(connection.execute(already).scalar_one()) + size > 2 * found.size:
        raise TooLarge(f"the parts of {upload} are more than twice the {found.size} bytes announced")
    part = Part(id=new_id("part"), upload=upload, blob=blob, size=size, created=now)
    connection.execute(sa.insert(parts).values(id=part.id, upload=upload, blob=blob, size=size, created=now))
    return part


def cancel(connection: sa.Connection, upload: str, owner: str, now: float) -> Upload:
    """Forget an upload and its parts; again changes nothing. Raises Conflict for one that is completed."""
    found = find(connection, upload, owner, now, lock=True)
    if found.status != "cancelled":
        _end(connection, _pending(found), "cancelled", None)
    return find(connection, upload, owner, now)


def complete(
    database: Database,
    blobs: Blobs,
    upload: str,
    owner: str,
    part_ids: Sequence[str],
    *,
    md5: str | None,
    most: int,
    now: float,
) -> tuple[Upload, StoredFile]:
    """Make one file of the parts, in this order; again gives the same file. Raises Conflict for an upload that is over,
    UserError for parts that do not make what was announced, and QuotaExceeded."""
    with database.transaction() as connection:
        found = find(connection, upload, owner, now)
        if found.status == "completed":
            return found, shelf.find(connection, str(found.file), owner, now)
        chosen = _chosen(connection, _pending(found), part_ids)
    blob = _joined(blobs, chosen, md5)
    with database.transaction() as connection:
        found = find(connection, upload, owner, now, lock=True)
        if found.status != "completed":
            _pending(found)
            file = shelf.new_file(
                owner=owner,
                filename=found.filename,
                purpose=found.purpose,
                size=found.size,
                blob=blob,
                now=now,
                keep_seconds=found.keep_seconds,
                file_id=upload.replace("upload_", "file_"),
            )
            _end(connection, found, "completed", file.id)
            shelf.add(connection, file, most=most)
        return find(connection, upload, owner, now), shelf.find(
            connection, upload.replace("upload_", "file_"), owner, now
        )


def _pending(upload: Upload) -> Upload:
    if upload.status != "pending":
        raise Conflict(f"upload {upload.id} is {upload.status}", hint="begin a new one")
    return upload


def _chosen(connection: sa.Connection, upload: Upload, part_ids: Sequence[str]) -> list[Part]:
    rows = connection.execute(sa.select(parts).where(parts.c.upload == upload.id))
    there: dict[str, Any] = {row.id: Part(**row._mapping) for row in rows}
    for part in part_ids:
        if part not in there:
            raise UserError(f"part_ids: '{part[:80]}' is no part of this upload")
    chosen = [there[part] for part in part_ids]
    size = sum(part.size for part in chosen)
    if size != upload.size:
        raise UserError(
            f"part_ids: these parts make {size} bytes, and {upload.size} were announced",
            hint="send what is missing, or name every part once",
        )
    return chosen


def _joined(blobs: Blobs, chosen: Sequence[Part], md5: str | None) -> BlobHash:
    digest, other = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        for part in chosen:
            for piece in blobs.stream(part.blob, 0, part.size):
                digest.update(piece)
                other.update(piece)
                file.write(piece)
        if md5 is not None and md5.lower() != other.hexdigest():
            raise UserError("md5: the parts make something else", hint="send the part that is wrong again")
        file.seek(0)
        blob = BlobHash(digest.hexdigest())
        blobs.put_file(file, blob)
    return blob


def _end(connection: sa.Connection, upload: Upload, status: str, file: str | None) -> None:
    connection.execute(sa.delete(parts).where(parts.c.upload == upload.id))
    connection.execute(sa.update(uploads).where(uploads.c.id == upload.id).values(status=status, file=file))
