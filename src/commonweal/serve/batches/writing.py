"""The output of a batch: a file of answers and a file of errors, in the order of the input's lines."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.serve.batches.orders import Batch
from commonweal.serve.batches.schema import answers
from commonweal.serve.files import shelf
from commonweal.serve.files.shelf import StoredFile

_ROWS_AT_ONCE = 200
_IN_MEMORY = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The two files, stored and yet to be entered; None for one that would be empty."""

    output: StoredFile | None
    errors: StoredFile | None


def line_of(custom_id: str, *, request_id: str, status: int, body: object) -> str:
    """An answer as a line of an output file."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return _line(custom_id, request_id, response, None)


def line_of_error(custom_id: str, request_id: str, *, code: str, message: str) -> str:
    """A request that got no answer, as a line of an error file."""
    return _line(custom_id, request_id, None, {"code": code, "message": message})


def write(database: Database, blobs: Blobs, batch: Batch, now: float) -> Written:
    """Store what was answered. The files' ids follow from the batch's: written twice they are the same."""
    return Written(
        output=_written(database, blobs, batch, good=True, now=now),
        errors=_written(database, blobs, batch, good=False, now=now),
    )


def _written(database: Database, blobs: Blobs, batch: Batch, *, good: bool, now: float) -> StoredFile | None:
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        for text in _lines(database, batch.id, good=good):
            data = text.encode() + b"\n"
            digest.update(data)
            size += file.write(data)
        if not size:
            return None
        file.seek(0)
        blob = BlobHash(digest.hexdigest())
        blobs.put_file(file, blob)
    kind = "output" if good else "error"
    return shelf.new_file(
        owner=batch.owner,
        filename=f"{batch.id}_{kind}.jsonl",
        purpose="batch_output",
        size=size,
        blob=blob,
        now=now,
        keep_seconds=batch.keep_seconds,
        file_id=f"file_{batch.id.removeprefix('batch_')}{kind[0]}",
    )


def _lines(database: Database, batch: str, *, good: bool) -> Iterator[str]:
    after = 0
    while True:
        query = (
            sa.select(answers.c.line, answers.c.body)
            .where(answers.c.batch == batch, answers.c.good == good, answers.c.line > after)
            .order_by(answers.c.line)
            .limit(_ROWS_AT_ONCE)
        )
        with database.transaction() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        yield from (row.body for row in rows)
        after = rows[-1].line


def _line(custom_id: str, request_id: str, response: object, error: object) -> str:
    value = {
        "id": request_id.replace("req_", "batch_req_", 1),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return orjson.dumps(value).decode()
