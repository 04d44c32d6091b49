"""``/v1/uploads``: a file that is too large for one request, in parts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from commonweal.core.hashing import BlobHash
from commonweal.serve.api.context import Account, Caller, Serve, ServeDep
from commonweal.serve.api.errors import documented
from commonweal.serve.api.files import LargeBodyRoute, file_json, upload_purpose
from commonweal.serve.api.storable import ExpiresAfter, Id, Sent, Text
from commonweal.serve.files import uploads
from commonweal.serve.files.receiving import received, stored
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.files.uploads import LARGEST_PART, LARGEST_UPLOAD, Part, Upload

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}

router = APIRouter(prefix="/v1/uploads", tags=["files"], route_class=LargeBodyRoute)


class NewUpload(Sent):
    """A file that is announced. ``bytes`` is what all its parts will make."""

    bytes: Annotated[int, Field(ge=1, le=LARGEST_UPLOAD)]
    filename: Text = Field(min_length=1, max_length=255)
    mime_type: Text = Field(max_length=200)
    purpose: Text = Field(max_length=40)
    expires_after: ExpiresAfter | None = None


class Complete(Sent):
    """The parts in their order, and perhaps the MD5 of what they make, in hexadecimal digits."""

    part_ids: Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    md5: Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{32}$")] | None = None


@router.post("", responses=documented(400, 401, 413))
def create(body: NewUpload, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Announce a file. Its bytes count against the account's quota from now on, for at most a day."""
    purpose = upload_purpose(body.purpose)
    with serve.database.transaction() as connection:
        made = uploads.begin(
            connection,
            owner=caller.name,
            filename=body.filename,
            purpose=purpose,
            size=body.bytes,
            keep_seconds=None if body.expires_after is None else float(body.expires_after.seconds),
            most=serve.options.file_quota,
            now=serve.clock.now(),
        )
    return _json(made)


@router.post("/{upload}/parts", openapi_extra=_FORM, responses=documented(400, 401, 404, 409, 413))
async def add_part(upload: Id, request: Request, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Add a part, of 64 MiB at most. Parts may come in any order and at the same time."""
    await run_in_threadpool(_find, serve, caller, upload)
    async with received(request.headers, request.stream(), part="data", largest=LARGEST_PART) as arrived:
        blob = await stored(serve.blobs, arrived.file)
        part = await run_in_threadpool(_add, serve, caller, upload, blob, arrived.size)
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created),
        "upload_id": part.upload,
    }


@router.post("/{upload}/complete", responses=documented(400, 401, 404, 409, 413))
def complete(upload: Id, body: Complete, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Make a file of the parts."""
    found, file = uploads.complete(
        serve.database,
        serve.blobs,
        upload,
        caller.name,
        body.part_ids,
        md5=body.md5,
        most=serve.options.file_quota,
        now=serve.clock.now(),
    )
    return _json(found, file)


@router.post("/{upload}/cancel", responses=documented(400, 401, 404, 409))
def cancel(upload: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Forget an upload and its parts."""
    with serve.database.transaction() as connection:
        return _json(uploads.cancel(connection, upload, caller.name, serve.clock.now()))


def _find(serve: Serve, caller: Account, upload: str) -> Upload:
    with serve.database.transaction() as connection:
        return uploads.find(connection, upload, caller.name, serve.clock.now())


def _add(serve: Serve, caller: Account, upload: str, blob: BlobHash, size: int) -> Part:
    with serve.database.transaction() as connection:
        return uploads.add_part(connection, upload, caller.name, blob, size, serve.clock.now())


def _json(upload: Upload, file: StoredFile | None = None) -> dict[str, Any]:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": int(upload.created),
        "expires_at": int(upload.expires),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": None if file is None else file_json(file),
    }
