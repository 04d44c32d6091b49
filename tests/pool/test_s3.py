"""An S3-compatible store: members up- and download past the hub, which checks before it believes."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from pool_hub import running_hub

from commonweal.core.blob_parts import LEAST as LEAST_PART
from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import CorruptBlob, NotFound, Unavailable
from commonweal.core.hashing import BlobHash
from commonweal.pool import garbage
from commonweal.pool.quota import LEAST
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.patience import Retry
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.upload import Uploads

DATA = b"weights" * 1000
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"pool-{os.getpid()}-{time.monotonic_ns()}"
    httpx.put(f"{endpoint}/{name}").raise_for_status()
    return f"s3://{name}/prefix"


@pytest.fixture
def s3(bucket: str) -> Blobs:
    return open_blobs(bucket)


@pytest.fixture
def s3_hub(database: Database, s3: Blobs, tmp_path: Path) -> Iterator[Any]:
    with running_hub(database, s3, tmp_path) as hub:
        yield hub


def test_bytes_go_past_the_hub_in_both_directions(s3_hub: Any) -> None:
    client = s3_hub.member().client
    begun = client.post("/uploads", json={"hash": NAME, "size": len(DATA)}).json()
    assert not begun["complete"]
    assert not begun["url"].startswith(s3_hub.url)
    assert client.get(f"/blobs/{NAME}").status_code == 404
    httpx.put(begun["url"], content=DATA).raise_for_status()
    assert client.get(f"/blobs/{NAME}").status_code == 404, "not there until it was checked"
    assert client.post(f"/uploads/{NAME}/complete").json() == {"size": len(DATA)}
    assert client.post(f"/uploads/{NAME}/complete").json() == {"size": len(DATA)}, "a repeated call"
    assert client.post("/uploads", json={"hash": NAME, "size": len(DATA)}).json()["complete"]
    reply = client.get(f"/blobs/{NAME}", follow_redirects=False)
    assert (reply.status_code, reply.content) == (307, b"")
    assert not reply.headers["Location"].startswith(s3_hub.url)
    assert httpx.get(reply.headers["Location"]).content == DATA
    part = httpx.get(reply.headers["Location"], headers={"Range": "bytes=7-13"})
    assert (part.status_code, part.content) == (206, DATA[7:14])


def test_other_bytes_are_refused_and_removed(s3_hub: Any, s3: Blobs) -> None:
    client = s3_hub.member().client
    url = client.post("/uploads", json={"hash": NAME, "size": 5}).json()["url"]
    httpx.put(url, content=b"wrong").raise_for_status()
    reply = client.post(f"/uploads/{NAME}/complete")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "wrong_hash")
    assert client.post(f"/uploads/{NAME}/complete").status_code == 404, "nothing is left to be admitted"
    assert client.get(f"/blobs/{NAME}").status_code == 404
    assert list(s3.all()) == []


def test_what_the_store_took_counts_at_its_true_size(database: Database, s3: Blobs, tmp_path: Path) -> None:
    with running_hub(database, s3, tmp_path, upload_quota=len(DATA) + LEAST - 1) as hub:
        client = hub.member().client
        url = client.post("/uploads", json={"hash": NAME, "size": 1}).json()["url"]
        httpx.put(url, content=DATA).raise_for_status()
        assert client.post(f"/uploads/{NAME}/complete").json() == {"size": len(DATA)}
        reply = client.post("/uploads", json={"hash": "0" * 64, "size": 1})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "upload_quota")


LONG = b"weights" * 1_400_000
LONG_NAME = BlobHash(hashlib.sha256(LONG).hexdigest())


class Cable:
    """Carries bytes to a server, and breaks once, when ``cut_at`` bytes of parts of uploads have gone through."""

    def __init__(self, to: str, cut_at: int) -> None:
        self.puts: list[str] = []
        self._to, self._left = to, cut_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        host, port = self._to.removeprefix("http://").split(":")
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((host, int(port)))
                threading.Thread(target=self._up, args=(near, far), daemon=True).start()
                threading.Thread(target=self._down, args=(near, far), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        is_part = False
        with suppress(OSError), near, far:
            while data := near.recv(65536):
                if head := re.match(rb"([A-Z]+) (\S+) HTTP/1.1\r\n", data):
                    is_part = head[1] == b"PUT" and b".parts/" in head[2]
                    self.puts += [head[2].decode().split("?")[0].rsplit("/", 1)[-1]] if is_part else []
                if is_part and self._left > 0:
                    self._left -= len(data)
                    if self._left <= 0:
                        near.shutdown(socket.SHUT_RDWR)
                        return
                far.sendall(data)

    def _down(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)


@contextmanager
def uploading(hub: Any, told: list[str]) -> Iterator[Uploads]:
    """A member's uploads to a hub; what it had to try again is told."""
    clock, member = SystemClock(), hub.member()
    key = member.client.headers["Authorization"].removeprefix("Bearer ")
    client = HubClient(hub.url, version="0.1.0", key=key)
    retry = Retry(clock, Random(0), lambda message, seconds: told.append(message))
    yield Uploads(client, retry, Meter(clock), TokenBucket(None, clock))
    client.close()


def test_an_upload_whose_link_breaks_goes_on_with_the_part_that_broke(
    endpoint: str, bucket: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    cable, s3 = Cable(endpoint, cut_at=LEAST_PART + LEAST_PART // 2), open_blobs(bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cable.url)
    behind = open_blobs(bucket)
    with running_hub(database, behind, tmp_path) as hub, uploading(hub, told) as uploads:
        assert uploads.put(LONG, threading.Event()) == LONG_NAME
    assert len(told) == 1, told
    starts = [f"{start:015}" for start in range(0, len(LONG), LEAST_PART)]
    assert cable.puts == [starts[0], starts[1], starts[1], starts[2]], "only the broken part is sent again"
    assert s3.get(LONG_NAME) == LONG
    assert s3.drop_incoming(time.time() + 100) == 0, "nothing is left in the waiting room"
    cable.close()


def begin_parts(hub: Any, member: Any, size: int = len(LONG)) -> list[dict[str, Any]]:
    body = {"hash": LONG_NAME, "size": size, "parts": True}
    parts = member.client.post("/uploads", json=body).json()["parts"]
    assert isinstance(parts, list)
    return parts


def put_part(part: dict[str, Any], data: bytes = LONG) -> None:
    httpx.put(part["url"], content=data[part["start"] : part["start"] + part["size"]]).raise_for_status()


def test_parts_are_put_together_once_all_are_there_and_are_what_was_announced(s3_hub: Any, s3: Blobs) -> None:
    member = s3_hub.member()
    parts = begin_parts(s3_hub, member)
    assert [part["size"] for part in parts] == [LEAST_PART, LEAST_PART, len(LONG) - 2 * LEAST_PART]
    where = f"/uploads/{LONG_NAME}/complete?size={len(LONG)}"
    put_part(parts[0])
    httpx.put(parts[1]["url"], content=b"short").raise_for_status()
    assert [part["start"] for part in begin_parts(s3_hub, member)] == [LEAST_PART, 2 * LEAST_PART]
    assert member.client.post(where).status_code == 404
    for part in parts[1:]:
        put_part(part)
    assert begin_parts(s3_hub, member) == []
    assert not s3.has(LONG_NAME), "not there until it was checked"
    assert member.client.post(where).json() == {"size": len(LONG)}
    assert member.client.post(where).json() == {"size": len(LONG)}, "a repeated call"
    assert s3.get(LONG_NAME) == LONG


def test_parts_of_something_else_are_refused_and_removed(s3_hub: Any, s3: Blobs) -> None:
    member = s3_hub.member()
    for part in begin_parts(s3_hub, member):
        put_part(part, bytes(len(LONG)))
    reply = member.client.post(f"/uploads/{LONG_NAME}/complete?size={len(LONG)}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "wrong_hash")
    assert len(begin_parts(s3_hub, member)) == 3, "they are to be uploaded again"
    assert not s3.has(LONG_NAME)
    assert s3.drop_incoming(time.time() + 100) == 0


def test_nobody_can_spoil_or_complete_the_parts_of_another(
    database: Database, s3: Blobs, tmp_path: Path
) -> None:
    with running_hub(database, s3, tmp_path) as hub:
        mine = hub.admin
        parts = mine.post("/uploads", json={"hash": LONG_NAME, "size": len(LONG), "parts": True}).json()[
            "parts"
        ]
        for part in parts:
            put_part(part)
        for part in begin_parts(hub, hub.member()):
            put_part(part, bytes(len(LONG)))
        assert mine.post(f"/uploads/{LONG_NAME}/complete?size={len(LONG)}").status_code == 200
    assert s3.get(LONG_NAME) == LONG


def test_a_client_that_knows_no_parts_and_a_small_blob_have_one_url(s3_hub: Any) -> None:
    client = s3_hub.member().client
    for body in ({"size": len(LONG)}, {"size": LEAST_PART, "parts": True}):
        begun = client.post("/uploads", json={"hash": LONG_NAME} | body).json()
        assert (begun["parts"], begun["url"] is None) == (None, False)


def test_a_large_upload_is_signed_some_parts_at_a_time(s3: Blobs) -> None:
    parts = s3.sign_parts(LONG_NAME, 8 << 30, "me", 60)
    assert parts is not None
    assert [part.start for part in parts] == [part.size * n for n, part in enumerate(parts)]
    assert (len(parts), -(-(8 << 30) // parts[0].size)) == (8, 1000)


def test_parts_wait_as_long_as_their_upload_goes_on(s3: Blobs) -> None:
    parts = s3.sign_parts(LONG_NAME, len(LONG), "me", 60)
    assert parts is not None
    httpx.put(parts[0].url, content=LONG[: parts[0].size]).raise_for_status()
    time.sleep(2.1)  # S3 counts in seconds
    between = time.time() - 1
    httpx.put(parts[1].url, content=LONG[parts[1].start :][: parts[1].size]).raise_for_status()
    assert s3.drop_incoming(between) == 0
    assert s3.drop_incoming(time.time() + 100) == 2


def test_what_is_too_large_for_the_store_to_copy_is_written_anew(
    s3: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonweal.core.blobs._COPIED_AT_MOST", LEAST_PART)
    while parts := s3.sign_parts(LONG_NAME, len(LONG), "me", 60):
        for part in parts:
            put_part({"url": part.url, "start": part.start, "size": part.size})
    assert s3.admit_parts(LONG_NAME, len(LONG), "me") == len(LONG)
    assert s3.get(LONG_NAME) == LONG


def test_completing_what_was_never_uploaded_is_404(s3_hub: Any) -> None:
    assert s3_hub.member().client.post(f"/uploads/{NAME}/complete").status_code == 404


def test_a_job_with_blobs_runs(s3_hub: Any) -> None:
    member = s3_hub.member()
    job = s3_hub.submit_job(units=1, rounds=1)
    lease = member.lease()
    assert member.submit(lease, blobs={"delta": NAME}).status_code == 422
    url = member.client.post("/uploads", json={"hash": NAME, "size": len(DATA)}).json()["url"]
    httpx.put(url, content=DATA).raise_for_status()
    member.client.post(f"/uploads/{NAME}/complete").raise_for_status()
    assert member.submit(lease, blobs={"delta": NAME}).status_code == 200
    s3_hub.wait_for(job)


def test_the_store_itself(s3: Blobs) -> None:
    name = s3.put(b"abc")
    assert s3.put(b"abc") == name
    assert s3.get(name) == b"abc"
    assert b"".join(s3.stream(name, 1, 3)) == b"bc"
    assert s3.size(name) == 3
    assert [(b.hash, b.size) for b in s3.all()] == [(name, 3)]
    s3.delete(name)
    s3.delete(name)
    assert not s3.has(name)
    with pytest.raises(NotFound):
        s3.get(name)


def test_too_large_an_upload_is_removed_unread(s3: Blobs) -> None:
    name = hashlib.sha256(b"12345").hexdigest()
    url = s3.sign_put(name, 60)  # type: ignore[arg-type]
    assert url is not None
    httpx.put(url, content=b"12345").raise_for_status()
    with pytest.raises(CorruptBlob):
        s3.admit(name, largest=4)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        s3.admit(name, largest=5)  # type: ignore[arg-type]


def test_garbage_and_uploads_left_behind_are_collected(s3: Blobs, database: Database) -> None:
    orphan = s3.put(b"orphan")
    url = s3.sign_put(hashlib.sha256(b"never completed").hexdigest(), 60)  # type: ignore[arg-type]
    assert url is not None
    httpx.put(url, content=b"never completed").raise_for_status()
    now = time.time()
    assert garbage.collect(database, s3, now, keep_seconds=60) == 0
    assert s3.has(orphan)
    assert garbage.collect(database, s3, now + 100, keep_seconds=60) == 1
    assert not s3.has(orphan)
    assert httpx.get(url.replace("PUT", "GET")).status_code != 200
    with pytest.raises(NotFound):
        s3.admit(hashlib.sha256(b"never completed").hexdigest(), 10**6)  # type: ignore[arg-type]


def test_storing_an_old_orphan_again_makes_it_young(s3: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    name = s3.put(b"made twice")
    (first,) = s3.all()
    monkeypatch.setattr("commonweal.core.blobs._YOUNG_SECONDS", -10.0)
    time.sleep(1.1)  # S3 counts in seconds
    assert s3.put(b"made twice") == name
    (second,) = s3.all()
    assert second.modified > first.modified
    assert s3.get(name) == b"made twice"


def test_a_store_that_is_away_is_unavailable_soon(monkeypatch: pytest.MonkeyPatch, s3: Blobs) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = open_blobs("s3://pool/prefix")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        away.put(b"x")
    assert time.monotonic() - started < 20
