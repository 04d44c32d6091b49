"""How a file arrives: a multipart body, piece by piece, with a limit that holds whatever was announced.

At most a megabyte of it is in memory; the rest waits on disk without a name, and is gone when the request is. The
bytes are hashed and stored before any row names them.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from commonweal.core.blobs import CHUNK, Blobs
from commonweal.core.errors import Refused, StorageFull, UserError
from commonweal.core.hashing import BlobHash

_FORM_BYTES = 65_536
"""What a body may have beyond its file: boundaries, headers and the other fields."""
_MOST_FIELDS = 16


class TooLarge(Refused):
    code = "file_too_large"
    status = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A form with its one file, open at its beginning. ``size`` in bytes."""

    fields: Mapping[str, str]
    filename: str
    size: int
    file: IO[bytes]


@asynccontextmanager
async def received(
    headers: Mapping[str, str], body: AsyncIterator[bytes], *, part: str, largest: int
) -> AsyncIterator[Arrived]:
    """Read a form whose file is the field ``part``. Raises UserError for a body that is no such form, and TooLarge once
    more than ``largest`` bytes came (or were announced)."""
    _check_announced(headers, largest)
    parser = MultiPartParser(
        Headers(dict(headers)), _limited(body, largest + _FORM_BYTES), max_files=1, max_fields=_MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise UserError(f"the body is not a form that can be read: {error.message}") from None
    except ClientDisconnect:
        raise UserError("the connection was lost in the middle of the body") from None
    except OSError as error:
        raise StorageFull(f"the hub cannot hold the upload: {error.strerror}") from error
    try:
        yield _arrived(list(form.multi_items()), part, largest)
    finally:
        await form.close()


async def stored(blobs: Blobs, file: IO[bytes]) -> BlobHash:
    """Store what an open file has, off the event loop."""
    return await run_in_threadpool(_stored, blobs, file)


def _stored(blobs: Blobs, file: IO[bytes]) -> BlobHash:
    digest = hashlib.sha256()
    while piece := file.read(CHUNK):
        digest.update(piece)
    file.seek(0)
    name = BlobHash(digest.hexdigest())
    blobs.put_file(file, name)
    return name


def _check_announced(headers: Mapping[str, str], largest: int) -> None:
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UserError(
            "the body must be a form with a file (multipart/form-data)",
            hint="curl sends one with -F file=@NAME, the openai client with file=open(NAME, 'rb')",
        )
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > largest + _FORM_BYTES:
        raise _too_large(largest)


async def _limited(body: AsyncIterator[bytes], most: int) -> AsyncGenerator[bytes, None]:
    left = most
    async for piece in body:
        left -= len(piece)
        if left < 0:
            raise _too_large(most - _FORM_BYTES)
        yield piece


def _arrived(items: list[tuple[str, str | UploadFile]], part: str, largest: int) -> Arrived:
    fields: dict[str, str] = {}
    found: UploadFile | None = None
    for name, value in items:
        if isinstance(value, str):
            fields[name] = value
        elif name == part:
            found = value
    if found is None:
        raise UserError(f"{part}: the form has no file of this name", hint=f"send it as the field '{part}'")
    size = found.size or 0
    if size > largest:
        raise _too_large(largest)
    return Arrived(fields=fields, filename=found.filename or part, size=size, file=found.file)


def _too_large(largest: int) -> TooLarge:
    return TooLarge(
        f"a file may have at most {largest / 1e6:.1f} MB",
        hint="send it in parts (POST /v1/uploads), or as several files",
    )
