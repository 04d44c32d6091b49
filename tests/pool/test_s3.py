"""An S3-compatible store: members up- and download past the hub, which checks before it believes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from pool_hub import running_hub

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.database import Database
from commonweal.core.errors import CorruptBlob, NotFound, Unavailable
from commonweal.pool import garbage
from commonweal.pool.quota import LEAST

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
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"pool-{os.getpid()}-{time.monotonic_ns()}"
    httpx.put(f"{endpoint}/{bucket}").raise_for_status()
    return open_blobs(f"s3://{bucket}/prefix")


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
