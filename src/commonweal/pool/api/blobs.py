"""Bulk: up- and download by content hash, resumable, or past the hub where the store can sign URLs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from commonweal.core.errors import (
    Conflict,
    CorruptBlob,
    NotFound,
    Refused,
    StorageFull,
    Unavailable,
    UserError,
)
from commonweal.core.hashing import BlobHash
from commonweal.pool import links, quota, wire
from commonweal.pool.access import Caller
from commonweal.pool.api.context import Anyone, Hub, HubDep
from commonweal.pool.api.faults import documented
from commonweal.pool.quota import QuotaExceeded

router = APIRouter(prefix=wire.PREFIX, tags=["blobs"])
Hash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
SIGNED_SECONDS = 3600.0

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?\Z")


class WrongOffset(Conflict):
    """``param`` holds the offset to go on from."""

    code = "wrong_offset"

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload goes on at byte {offset}")
        self.param = str(offset)


class TooLarge(Refused):
    code = "too_large"
    status = 413


class RangeNotSatisfiable(UserError):
    code = "range_not_satisfiable"
    status = 416

    def __init__(self, start: int, size: int) -> None:
        super().__init__(f"byte {start} is not within {size} bytes")
        self.headers = {"Content-Range": f"bytes */{size}"}


@router.post("/uploads", responses=documented(TooLarge, QuotaExceeded))
def begin(body: wire.UploadRequest, hub: HubDep, caller: Anyone) -> wire.Upload:
    """How to upload a blob: perhaps it is there already, perhaps half of it is."""
    name = BlobHash(body.hash)
    if _is_there(hub, caller, name, body.size):
        return wire.Upload(complete=True)
    if body.parts:
        parts = hub.blobs.sign_parts(name, body.size, _uploader(caller), SIGNED_SECONDS)
        if parts is not None:
            _await(hub, caller)
            named = [wire.UploadPart(start=part.start, size=part.size, url=part.url) for part in parts]
            return wire.Upload(complete=False, parts=named)
    url = hub.blobs.sign_put(name, SIGNED_SECONDS)
    if url is not None:
        _await(hub, caller)
    return wire.Upload(complete=False, offset=0 if url else _offset(_part(hub, caller, name)), url=url)


@router.patch(
    "/uploads/{blob}", responses=documented(WrongOffset, TooLarge, QuotaExceeded, CorruptBlob, StorageFull)
)
async def go_on(
    blob: Hash,
    request: Request,
    hub: HubDep,
    caller: Anyone,
    offset: Annotated[int, Query(ge=0)],
    size: Annotated[int, Query(ge=0)],
) -> dict[str, int]:
    """Append the body at ``offset``. When ``size`` bytes are there the hash is checked and the blob stored.

    What arrived before a broken connection is kept: the next request goes on from it.
    """
    # From the head of the request on: by the time that its bytes are read some have come already.
    name, began = BlobHash(blob), hub.clock.now()
    if await run_in_threadpool(_is_there, hub, caller, name, size):
        return {"offset": size}
    part = _part(hub, caller, name)
    if offset != _offset(part):
        raise WrongOffset(_offset(part))
    reached = await _append(request, part, offset, size)
    if caller.role == "member":
        await run_in_threadpool(_time_upload, hub, caller, reached - offset, hub.clock.now() - began)
    if reached == size:
        await run_in_threadpool(_admit, hub, part, name)
    return {"offset": reached}


@router.post("/uploads/{blob}/complete", responses=documented(NotFound, CorruptBlob, StorageFull))
def complete(
    blob: Hash, hub: HubDep, caller: Anyone, size: Annotated[int | None, Query(ge=0)] = None
) -> dict[str, int]:
    """After an upload by signed URL: check it and give it its place. ``size`` if it was uploaded in parts."""
    name = BlobHash(blob)
    if size is None:
        size = hub.blobs.admit(name, hub.options.largest_blob)
    else:
        size = hub.blobs.admit_parts(name, size, _uploader(caller))
    with hub.database.transaction() as connection:
        quota.arrived(connection, caller.owner, name, size)
        if caller.role == "member":
            links.stored(connection, caller.member, size, hub.clock.now())
    return {"size": size}


@router.get(
    "/blobs/{blob}",
    response_class=Response,
    responses={
        206: {"description": "the range that was asked for"},
        307: {"description": "the store has the bytes, at that address"},
        **documented(NotFound, RangeNotSatisfiable),
    },
)
def download(
    blob: Hash, hub: HubDep, caller: Anyone, range: Annotated[str | None, Header()] = None
) -> Response:
    """The bytes of a blob, or of a range of it; or a redirect to where they are."""
    name = BlobHash(blob)
    size = hub.blobs.size(name)
    url = hub.blobs.sign_get(name, SIGNED_SECONDS)
    start, end = _range(range, size)
    if url is not None:
        _time_download(hub, caller, end - start, began=hub.clock.now())
        return RedirectResponse(url, status_code=307)
    headers = {"Content-Length": str(end - start), "Accept-Ranges": "bytes", "ETag": f'"{blob}"'}
    partial = (start, end) != (0, size)
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    pieces = _timed(hub, caller, hub.blobs.stream(name, start, end), end - start)
    return StreamingResponse(pieces, 206 if partial else 200, headers, media_type="application/octet-stream")


def _timed(hub: Hub, caller: Caller, pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """``pieces``, and how long it took until the last was taken. One that broke off says nothing of the link."""
    began = hub.clock.now()
    yield from pieces
    with suppress(Unavailable):  # the bytes are there, whether or not it can be noted
        _time_download(hub, caller, size, began=began, seconds=hub.clock.now() - began)


def _time_download(hub: Hub, caller: Caller, size: int, *, began: float, seconds: float = 0.0) -> None:
    if caller.role == "member":
        with hub.database.transaction() as connection:
            links.downloaded(connection, caller.member, size, began=began, seconds=max(0.0, seconds))


def _time_upload(hub: Hub, caller: Caller, size: int, seconds: float) -> None:
    with hub.database.transaction() as connection:
        links.uploaded(connection, caller.member, size, seconds)


def _await(hub: Hub, caller: Caller) -> None:
    if caller.role == "member":
        with hub.database.transaction() as connection:
            links.awaited(connection, caller.member, hub.clock.now())


def _range(header: str | None, size: int) -> tuple[int, int]:
    """One range from a byte on. Any other kind of Range header is ignored (RFC 9110 14.2)."""
    match = _RANGE.match(header.strip()) if header else None
    if match is None or not size:
        return 0, size
    start, end = int(match[1]), int(match[2]) + 1 if match[2] else None
    if end is not None and end <= start:
        return 0, size
    if start >= size:
        raise RangeNotSatisfiable(start, size)
    return start, size if end is None else min(end, size)


def _is_there(hub: Hub, caller: Caller, name: BlobHash, size: int) -> bool:
    """Whether a blob is there already. If not, its bytes are to come, and count against the caller's quota; an operator
    has none."""
    if size > hub.options.largest_blob:
        raise TooLarge(f"a blob may have at most {hub.options.largest_blob} bytes")
    if hub.blobs.keep(name):
        return True
    if caller.role != "admin":
        most, now = hub.options.upload_quota, hub.clock.now()
        with hub.database.transaction() as connection:
            quota.reserve(connection, caller.owner, name, size, most=most, now=now)
    return False


def _part(hub: Hub, caller: Caller, name: BlobHash) -> FilePath:
    """Where an upload under way is kept: by caller, so that nobody can spoil another's."""
    return hub.options.incoming / f"{name}.{_uploader(caller)}.part"


def _uploader(caller: Caller) -> str:
    """Who uploads, as a part of a file's name."""
    return hashlib.sha256(caller.owner.encode()).hexdigest()[:16]


def _offset(part: FilePath) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


async def _append(request: Request, part: FilePath, offset: int, size: int) -> int:
    """Write the body at ``offset``; returns where it ends. Not in append mode: an older request for the same
    upload, whose client gave up on it, may still be writing, and then writes the same bytes to the same place."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.seek(offset)
            async for piece in request.stream():
                if file.tell() + len(piece) > size:
                    raise TooLarge(f"more bytes than the announced {size}")
                file.write(piece)
            return file.tell()
    except ClientDisconnect:
        raise UserError("the connection was lost; go on from the offset") from None
    except OSError as error:
        raise StorageFull(f"the hub cannot store the upload: {error.strerror}") from error
    except TooLarge:
        part.unlink(missing_ok=True)
        raise


def _admit(hub: Hub, part: FilePath, name: BlobHash) -> None:
    try:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:  # another request for the same upload was faster
        if hub.blobs.has(name):
            return
        raise WrongOffset(0) from None
    if digest != name:
        part.unlink(missing_ok=True)
        raise CorruptBlob("the bytes do not have the announced hash", hint="start again from byte 0")
    hub.blobs.put_file(part, name)
    part.unlink(missing_ok=True)
