"""Files that arrive in parts, by the openai client."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import openai
import pytest
from job_api import Api, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.serve.files import shelf

DATA = os.urandom(3_000_000)


def begin(client: openai.OpenAI, size: int = len(DATA), **asked: Any) -> str:
    made = {"filename": "large.jsonl", "mime_type": "text/jsonl", "purpose": "user_data"} | asked
    return client.uploads.create(bytes=size, **made).id


def test_parts_in_any_order_make_one_file(api: Api, database: Database) -> None:
    client = api.client()
    upload = begin(client)
    last = client.uploads.parts.create(upload, data=DATA[2_000_000:])
    first = client.uploads.parts.create(upload, data=DATA[:2_000_000])
    assert (first.object, first.upload_id) == ("upload.part", upload)
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    for _ in range(2):
        done = client.uploads.complete(upload, part_ids=[first.id, last.id], md5=md5)
        assert done.status == "completed"
        assert done.file is not None
        assert client.files.content(done.file.id).read() == DATA
    assert [file.bytes for file in client.files.list()] == [len(DATA)]
    with database.transaction() as connection:
        assert len(shelf.named_blobs(connection)) == 1
        assert shelf.used(connection, "ann") == len(DATA)


def test_the_clients_own_way_of_cutting_a_file(api: Api) -> None:
    done = api.client().uploads.upload_file_chunked(
        file=DATA,
        filename="chunked.bin",
        bytes=len(DATA),
        mime_type="application/octet-stream",
        purpose="user_data",
        part_size=700_000,
    )
    assert done.file is not None
    assert api.client().files.content(done.file.id).read() == DATA


def test_what_does_not_add_up_is_refused(api: Api) -> None:
    client = api.client()
    upload = begin(client, 10)
    part = client.uploads.parts.create(upload, data=b"12345")
    for parts, md5 in (([part.id], None), (["part_x"], None), ([part.id] * 2, "0" * 32)):
        with pytest.raises(openai.BadRequestError):
            client.uploads.complete(upload, part_ids=parts, **({"md5": md5} if md5 else {}))
    with pytest.raises(openai.APIStatusError) as caught:
        client.uploads.parts.create(upload, data=b"x" * 100)
    assert caught.value.status_code == 413
    assert client.uploads.complete(upload, part_ids=[part.id] * 2).status == "completed"
    for call in (
        lambda: client.uploads.parts.create(upload, data=b"1"),
        lambda: client.uploads.cancel(upload),
    ):
        with pytest.raises(openai.ConflictError):
            call()
    with pytest.raises(openai.BadRequestError):
        begin(client, purpose="batch_output")
    with pytest.raises(openai.BadRequestError):
        begin(client, 0)


def test_cancelled_uploads_and_anothers_are_not_gone_on_with(api: Api, database: Database) -> None:
    ann, bob = api.client("ann"), api.client("bob")
    upload = begin(ann)
    part = ann.uploads.parts.create(upload, data=b"secret")
    for call in (
        lambda: bob.uploads.parts.create(upload, data=b"x"),
        lambda: bob.uploads.cancel(upload),
        lambda: bob.uploads.complete(upload, part_ids=[part.id]),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    own = begin(bob, 6)
    with pytest.raises(openai.BadRequestError):
        bob.uploads.complete(own, part_ids=[part.id])
    assert ann.uploads.cancel(upload).status == "cancelled"
    assert ann.uploads.cancel(upload).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        ann.uploads.complete(upload, part_ids=[part.id])
    with database.transaction() as connection:
        assert shelf.named_blobs(connection) == frozenset()
        assert shelf.used(connection, "ann") == 0


def test_an_announced_file_counts_and_is_forgotten_after_a_day(database: Database, blobs: Blobs) -> None:
    clock = ManualClock(1e6)
    with running_api(database, blobs, clock=clock, options={"file_quota": 1_000_000}) as api:
        client = api.client()
        upload = begin(client, 800_000)
        with pytest.raises(openai.APIStatusError) as caught:
            begin(client, 300_000)
        assert caught.value.code == "file_quota_exceeded"
        part = client.uploads.parts.create(upload, data=b"x" * 1000)
        clock.sleep(86_401)
        with pytest.raises(openai.NotFoundError):
            client.uploads.complete(upload, part_ids=[part.id])
        with database.transaction() as connection:
            shelf.forget_expired(connection, clock.now())
            assert shelf.named_blobs(connection) == frozenset()
        begin(client, 900_000)
