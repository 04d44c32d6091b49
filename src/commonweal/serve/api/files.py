"""``/v1/files``: what jobs read and what they write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from commonweal.core.hashing import BlobHash
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Account, Caller, Serve, ServeDep
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.storable import ANCHOR_LEAST, ANCHOR_MOST, After, Id, listed
from commonweal.serve.files import shelf
from commonweal.serve.files.receiving import Arrived, received, stored
from commonweal.serve.files.shelf import PURPOSES, StoredFile

_MADE_BY_THE_HUB = frozenset({"assistants_output", "batch_output", "fine-tune-results"})
_UPLOADED = tuple(purpose for purpose in PURPOSES if purpose not in _MADE_BY_THE_HUB)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(_UPLOADED)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": ANCHOR_LEAST,
                            "maximum": ANCHOR_MOST,
                        },
                    },
                }
            }
        },
    }
}


class LargeBodyRoute(OpenAIRoute):
    """A route that reads its body piece by piece, and has a limit of its own."""

    largest_body = 2**33


router = APIRouter(prefix="/v1/files", tags=["files"], route_class=LargeBodyRoute)


def file_json(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


@router.post("", openapi_extra=_FORM, responses=documented(400, 401, 413))
async def create(request: Request, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Upload a file. It is streamed to the store; one that is there already takes no more space."""
    most = serve.options.largest_file
    async with received(request.headers, request.stream(), part="file", largest=most) as arrived:
        purpose, keep_seconds = _purpose(arrived.fields), _keep_seconds(arrived.fields)
        shelf.checked_name(arrived.filename)
        await run_in_threadpool(_check_quota, serve, caller, arrived.size)
        blob = await stored(serve.blobs, arrived.file)
        file = await run_in_threadpool(_add, serve, caller, arrived, blob, purpose, keep_seconds)
    return file_json(file)


@router.get("", responses=documented(400, 401, 404))
def every(
    serve: ServeDep,
    caller: Caller,
    purpose: Annotated[str | None, Query(max_length=40)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """A page of the caller's files."""
    if purpose is not None and purpose not in PURPOSES:
        raise _unknown_purpose(purpose, PURPOSES)
    with serve.database.transaction() as connection:
        found = shelf.every(
            connection,
            caller.name,
            serve.clock.now(),
            purpose=purpose,
            after=after,
            limit=limit,
            newest_first=order == "desc",
        )
    return listed([file_json(file) for file in found.found], more=found.more)


@router.get("/{file}", responses=documented(400, 401, 404))
def one(file: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """One file."""
    return file_json(_found(serve, caller, file))


@router.delete("/{file}", responses=documented(400, 401, 404))
def delete(file: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Delete a file. Jobs that have begun with it go on."""
    with serve.database.transaction() as connection:
        shelf.remove(connection, file, caller.name, serve.clock.now())
    return {"id": file, "object": "file", "deleted": True}


@router.get(
    "/{file}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **documented(400, 401, 404)},
)
def content(file: Id, serve: ServeDep, caller: Caller) -> StreamingResponse:
    """A file's bytes."""
    found = _found(serve, caller, file)
    headers = {
        "Content-Length": str(found.size),
        "Content-Disposition": disposition(found.filename),
        "X-Content-Type-Options": "nosniff",
    }
    pieces = serve.blobs.stream(found.blob, 0, found.size)
    return StreamingResponse(pieces, headers=headers, media_type="application/octet-stream")


def disposition(filename: str) -> str:
    """The header that names a download, whatever the name is made of (RFC 6266): without folders, and the part that all
    readers know in ASCII.

    >>> print(disposition('../../etc/pass"wd\u00e9'))
    attachment; filename="pass_wd_"; filename*=UTF-8''pass%22wd%C3%A9
    """
    name = re.split(r"[/\\]", filename)[-1].lstrip(".") or "file"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _found(serve: Serve, caller: Account, file: str) -> StoredFile:
    with serve.database.transaction() as connection:
        return shelf.find(connection, file, caller.name, serve.clock.now())


def _check_quota(serve: Serve, caller: Account, size: int) -> None:
    """Before the bytes are stored; it is checked again with the row that counts them."""
    with serve.database.transaction() as connection:
        shelf.check_quota(connection, caller.name, size, serve.options.file_quota)


def _add(
    serve: Serve,
    caller: Account,
    arrived: Arrived,
    blob: BlobHash,
    purpose: str,
    keep_seconds: float | None,
) -> StoredFile:
    file = shelf.new_file(
        owner=caller.name,
        filename=arrived.filename,
        purpose=purpose,
        size=arrived.size,
        blob=blob,
        now=serve.clock.now(),
        keep_seconds=keep_seconds,
    )
    with serve.database.transaction() as connection:
        return shelf.add(connection, file, most=serve.options.file_quota)


def _purpose(fields: Mapping[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise ApiError(
            "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter"
        )
    return upload_purpose(purpose)


def upload_purpose(purpose: str) -> str:
    """A purpose that an account may upload with. Raises ApiError."""
    if purpose not in _UPLOADED:
        raise _unknown_purpose(purpose, _UPLOADED)
    return purpose


def _unknown_purpose(purpose: str, known: tuple[str, ...]) -> ApiError:
    return ApiError(
        f"Invalid value: '{purpose[:40]}'. Supported values are: {', '.join(known)}.",
        param="purpose",
        code="invalid_value",
    )


def _keep_seconds(fields: Mapping[str, str]) -> float | None:
    anchor, seconds = (fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise ApiError("expires_after.anchor: must be 'created_at'.", param="expires_after.anchor")
    if (
        seconds is None
        or not re.fullmatch(r"\d{1,8}", seconds)
        or not (ANCHOR_LEAST <= int(seconds) <= ANCHOR_MOST)
    ):
        raise ApiError(
            f"expires_after.seconds: must be a whole number from {ANCHOR_LEAST} to {ANCHOR_MOST}.",
            param="expires_after.seconds",
        )
    return float(seconds)
