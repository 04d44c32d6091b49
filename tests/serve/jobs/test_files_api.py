"""Files over HTTP, by the openai client: streamed, paged, isolated, and harmless whatever they are called."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Iterator

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_api import Api, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.hashing import content_hash
from commonweal.serve.api.files import disposition
from commonweal.serve.files import shelf


def test_a_file_is_uploaded_found_read_and_deleted(api: Api) -> None:
    client = api.client()
    made = client.files.create(file=("train.jsonl", b'{"text": "one"}\n'), purpose="fine-tune")
    assert (made.object, made.filename, made.bytes, made.purpose) == ("file", "train.jsonl", 16, "fine-tune")
    assert made.expires_at is None
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == b'{"text": "one"}\n'
    gone = client.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_a_list_is_paged_in_either_order_and_by_purpose(api: Api) -> None:
    client = api.client()
    names = [f"{number}.txt" for number in range(7)]
    for name in names:
        purpose = "batch" if name == "3.txt" else "user_data"
        client.files.create(file=(name, name.encode()), purpose=purpose)  # type: ignore[arg-type]
    assert [file.filename for file in client.files.list(limit=3)] == names[::-1]
    assert [file.filename for file in client.files.list(limit=2, order="asc")] == names
    assert [file.filename for file in client.files.list(purpose="batch")] == ["3.txt"]
    page = client.files.list(limit=3)
    assert page.has_more
    assert len(page.data) == 3
    with pytest.raises(openai.NotFoundError):
        client.files.list(after="file_0000000000000000")
    with pytest.raises(openai.BadRequestError):
        client.files.list(purpose="nonsense")


def test_another_accounts_file_is_not_there(api: Api) -> None:
    ann, bob = api.client("ann"), api.client("bob")
    made = ann.files.create(file=("secret.txt", b"secret"), purpose="user_data")
    for call in (bob.files.retrieve, bob.files.content, bob.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    assert list(bob.files.list()) == []
    with pytest.raises(openai.NotFoundError):
        bob.files.list(after=made.id)
    assert ann.files.content(made.id).read() == b"secret"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{api.url}/v1", api_key="wrong", max_retries=0).files.list()


def test_equal_bytes_are_stored_once_and_stay_while_one_names_them(
    api: Api, database: Database, blobs: Blobs
) -> None:
    ann, bob = api.client("ann"), api.client("bob")
    one = ann.files.create(file=("a", b"same"), purpose="user_data")
    two = bob.files.create(file=("b", b"same"), purpose="user_data")
    assert [blob.hash for blob in blobs.all()] == [content_hash(b"same")]
    ann.files.delete(one.id)
    with database.transaction() as connection:
        assert shelf.named_blobs(connection) == {content_hash(b"same")}
    bob.files.delete(two.id)
    with database.transaction() as connection:
        assert shelf.named_blobs(connection) == frozenset()


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "/etc/shadow",
        'a"b; filename=evil.exe',
        "naïve ☃.txt",
        "...",
        "C:\\x",
    ],
)
def test_a_name_is_text_and_nothing_else(api: Api, blobs: Blobs, name: str) -> None:
    client = api.client()
    made = client.files.create(file=(name, b"x"), purpose="user_data")
    # The client's own quoting of what it sends is not ours to undo.
    assert "\0" not in made.filename
    told = client.files.with_raw_response.content(made.id).headers["content-disposition"]
    assert told.startswith("attachment; filename=")
    assert not set("/\\") & set(told)
    assert told.count('"') == 2
    assert [blob.hash for blob in blobs.all()] == [content_hash(b"x")]


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_disposition_is_one_header(name: str) -> None:
    try:
        shelf.checked_name(name)
    except shelf.UserError:
        return
    told = disposition(name)
    assert told.isascii()
    assert told.isprintable()
    assert told.count('"') == 2
    assert "/" not in told


def test_names_that_nobody_can_read_are_refused(api: Api) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be a file's name"):
        api.client().files.create(file=("x" * 300, b"x"), purpose="user_data")
    headers = {"Authorization": "Bearer key-ann", "Content-Type": "multipart/form-data; boundary=b"}
    purpose = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    for name in (b"a\x01b", b"\x7f", b"a\0b", b"\xff\xfe"):
        file = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\nx\r\n--b--\r\n' % name
        )
        reply = httpx.post(f"{api.url}/v1/files", content=purpose + file, headers=headers)
        assert reply.status_code == (200 if name == b"\xff\xfe" else 400), (name, reply.text)


@pytest.mark.parametrize("purpose", ["", "nonsense", "fine-tune-results", "batch_output"])
def test_a_purpose_is_one_of_those_for_uploads(api: Api, purpose: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        api.client().files.create(file=("a", b"x"), purpose=purpose)  # type: ignore[arg-type]
    assert caught.value.param == "purpose"


def test_bodies_that_are_no_forms(api: Api) -> None:
    send = httpx.Client(base_url=f"{api.url}/v1", headers={"Authorization": "Bearer key-ann"})
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", form),
        (b"--b\r\n\r\n", form),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', form),
        (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n', form),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n', form),
    ]
    for body, headers in bodies:
        reply = send.post("/files", content=body, headers=headers)
        assert reply.status_code == 400, (body, reply.text)
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_expiry_is_asked_for_and_kept(database: Database, blobs: Blobs) -> None:
    clock = ManualClock(1_000_000.0)
    with running_api(database, blobs, clock=clock) as api:
        client = api.client()
        soon = client.files.create(
            file=("a", b"a"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        batch = client.files.create(file=("b", b"b"), purpose="batch")
        assert soon.expires_at == 1_003_600
        assert batch.expires_at == 1_000_000 + 30 * 86_400
        for seconds in (1, 10**9):
            with pytest.raises(openai.BadRequestError):
                client.files.create(
                    file=("a", b"a"),
                    purpose="user_data",
                    expires_after={"anchor": "created_at", "seconds": seconds},
                )
        clock.sleep(3600)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(soon.id)
        assert [file.id for file in client.files.list()] == [batch.id]
        with database.transaction() as connection:
            assert shelf.forget_expired(connection, clock.now()) == 1
            assert len(shelf.named_blobs(connection)) == 1


def test_files_have_a_limit_and_accounts_a_quota(database: Database, blobs: Blobs) -> None:
    with running_api(database, blobs, options={"largest_file": 1_000_000, "file_quota": 1_500_000}) as api:
        client = api.client()
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("large", os.urandom(1_000_001)), purpose="user_data")
        assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
        client.files.create(file=("fits", os.urandom(1_000_000)), purpose="user_data")
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("more", os.urandom(900_000)), purpose="user_data")
        assert (caught.value.status_code, caught.value.code) == (413, "file_quota_exceeded")
        api.client("bob").files.create(file=("other", os.urandom(900_000)), purpose="user_data")
        assert len(list(blobs.all())) == 2


def test_a_body_without_a_length_is_counted_as_it_comes(database: Database, blobs: Blobs) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield b"x" * 10_000

    with running_api(database, blobs, options={"largest_file": 100_000}) as api:
        headers = {"Authorization": "Bearer key-ann", "Content-Type": "multipart/form-data; boundary=b"}
        reply = httpx.post(f"{api.url}/v1/files", content=endless(), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "file_too_large")


def test_a_large_file_is_never_whole_in_memory(api: Api) -> None:
    class Zeros(io.RawIOBase):
        """64 MiB that are nowhere."""

        left = 64 * 2**20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = min(len(buffer), self.left)
            self.left -= count
            buffer[:count] = bytes(count)
            return count

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        zeros = Zeros()
        while piece := zeros.read(2**16):
            yield piece
        yield b"\r\n--b--\r\n"

    headers = {"Authorization": "Bearer key-ann", "Content-Type": "multipart/form-data; boundary=b"}
    tracemalloc.start()
    reply = httpx.post(f"{api.url}/v1/files", content=form(), headers=headers, timeout=60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reply.status_code == 200, reply.text
    assert reply.json()["bytes"] == 64 * 2**20
    assert peak < 16 * 2**20
