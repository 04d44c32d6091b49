"""The files of an account: added, found, listed, deleted, and forgotten once they expire.

A file is a row; its bytes are a blob that other rows may name too, so equal bytes are stored once and each account
pays for them out of its own quota. The blob is stored before the row that names it. A file's name is text: nothing
here or elsewhere ever opens a path made of it. Another account's file is not found, like one that never was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from commonweal.core.errors import NotFound, Refused, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import new_id
from commonweal.serve.files.schema import files, parts, uploads
from commonweal.serve.paging import Page, page

Purpose = Literal[
    "fine-tune",
    "batch",
    "assistants",
    "vision",
    "user_data",
    "evals",
    "assistants_output",
    "batch_output",
    "fine-tune-results",
]
PURPOSES: tuple[str, ...] = get_args(Purpose)

LEAST = 4096
"""The least that a file counts as, in bytes: a row and a blob's place take that much."""

BATCH_SECONDS = 30 * 86_400.0
"""How long a batch's input is kept where nothing else is said, as OpenAI does."""

_LONGEST_NAME = 255


class QuotaExceeded(Refused):
    """Not a matter of seconds, so not one for trying again by itself."""

    code = "file_quota_exceeded"
    status = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """``size`` in bytes; ``expires`` None for one that stays until it is deleted."""

    id: str
    owner: str
    filename: str
    purpose: str
    size: int
    blob: BlobHash
    created: float
    expires: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A page of files."""

    found: tuple[StoredFile, ...]
    more: bool


def new_file(
    *,
    owner: str,
    filename: str,
    purpose: str,
    size: int,
    blob: BlobHash,
    now: float,
    keep_seconds: float | None = None,
    file_id: str | None = None,
) -> StoredFile:
    """A file that is yet to be added."""
    if purpose == "batch" and keep_seconds is None:
        keep_seconds = BATCH_SECONDS
    return StoredFile(
        id=file_id or new_id("file"),
        owner=owner,
        filename=filename,
        purpose=purpose,
        size=size,
        blob=blob,
        created=now,
        expires=None if keep_seconds is None else now + keep_seconds,
    )


def checked_name(name: str) -> str:
    """A file's name that can be shown and stored: one line, without control characters. Raises UserError."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UserError(
            f"file: {name[:40]!r} cannot be a file's name",
            hint=f"use 1 to {_LONGEST_NAME} printable characters",
        )
    return name


def add(connection: sa.Connection, file: StoredFile, *, most: int | None) -> StoredFile:
    """Enter a file whose blob is stored; the same id again changes nothing. ``most`` is what its owner may have in all,
    in bytes (None: no limit, for what the hub itself writes). Raises QuotaExceeded."""
    if most is not None:
        check_quota(connection, file.owner, file.size, most)
    row = {name: getattr(file, name) for name in StoredFile.__slots__}
    there = connection.execute(sa.select(files).where(files.c.id == file.id)).first()
    if there is not None:
        return _file(there)
    connection.execute(sa.insert(files).values(row))
    return file


def find(connection: sa.Connection, file: str, owner: str, now: float) -> StoredFile:
    """A file of ``owner``'s. Raises NotFound."""
    row = connection.execute(sa.select(files).where(files.c.id == file, *_visible(owner, now))).first()
    if row is None:
        raise NotFound(f"no file '{file[:80]}'", hint="GET /v1/files lists yours")
    return _file(row)


def every(
    connection: sa.Connection,
    owner: str,
    now: float,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = 10_000,
    newest_first: bool = True,
) -> Files:
    """A page of an account's files."""
    conditions = list(_visible(owner, now))
    if purpose is not None:
        conditions.append(files.c.purpose == purpose)
    found: Page = page(connection, files, *conditions, after=after, limit=limit, newest_first=newest_first)
    return Files(found=tuple(_file(row) for row in found.rows), more=found.more)


def remove(connection: sa.Connection, file: str, owner: str, now: float) -> None:
    """Delete a file. Its bytes go with the next collection of garbage, unless something else names them. Raises
    NotFound."""
    find(connection, file, owner, now)
    connection.execute(sa.delete(files).where(files.c.id == file))


def used(connection: sa.Connection, owner: str) -> int:
    """What an account's files and unfinished uploads count as, in bytes."""
    sizes = [
        sa.select(sa.func.coalesce(sa.func.sum(sa.func.greatest(table.c.size, LEAST)), 0)).where(*conditions)
        for table, conditions in (
            (files, (files.c.owner == owner,)),
            (uploads, (uploads.c.owner == owner, uploads.c.status == "pending")),
        )
    ]
    return sum(int(connection.execute(size).scalar_one()) for size in sizes)


def forget_expired(connection: sa.Connection, now: float) -> int:
    """Delete the rows of files and uploads whose time is over; returns how many files there were."""
    over = sa.select(uploads.c.id).where(uploads.c.expires <= now)
    connection.execute(sa.delete(parts).where(parts.c.upload.in_(over)))
    connection.execute(sa.delete(uploads).where(uploads.c.expires <= now))
    return connection.execute(sa.delete(files).where(files.c.expires <= now)).rowcount


def named_blobs(connection: sa.Connection) -> frozenset[BlobHash]:
    """The bytes of all files, and of the parts of uploads under way: the collection of garbage leaves them."""
    named = sa.union_all(sa.select(files.c.blob), sa.select(parts.c.blob))
    return frozenset(BlobHash(blob) for blob in connection.execute(named).scalars())


def check_quota(connection: sa.Connection, owner: str, size: int, most: int) -> None:
    """Whether ``owner`` may have ``size`` bytes more; until the transaction ends nobody else adds to that account's
    files. Raises QuotaExceeded."""
    lock = sa.func.hashtextextended(f"files of {owner}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    already, size = used(connection, owner), max(size, LEAST)
    if already + size > most:
        raise QuotaExceeded(
            f"{size / 1e6:.1f} MB more would make {(already + size) / 1e6:.1f} MB of files, and "
            f"{most / 1e6:.1f} MB are allowed",
            hint="delete files that you no longer need: DELETE /v1/files/FILE",
        )


def _visible(owner: str, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return files.c.owner == owner, sa.or_(files.c.expires.is_(None), files.c.expires > now)


def _file(row: sa.Row[Any]) -> StoredFile:
    return StoredFile(**row._mapping)
