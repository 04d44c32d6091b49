"""The blob store in a folder and in memory: what is named is there, and is what its name says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.blobs import CHUNK, Blobs, open_blobs
from commonweal.core.errors import ConfigError, CorruptBlob, NotFound, StorageFull, Unavailable
from commonweal.core.hashing import BlobHash, content_hash

NOTHING = BlobHash("0" * 64)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path / "store") if request.param == "folder" else "memory://")


def test_put_get_delete(store: Blobs) -> None:
    name = store.put(b"abc")
    assert name == content_hash(b"abc") == store.put(b"abc")
    assert (store.get(name), store.size(name), store.has(name)) == (b"abc", 3, True)
    assert [(b.hash, b.size) for b in store.all()] == [(name, 3)]
    store.delete(name)
    store.delete(name)
    assert not store.has(name)
    assert list(store.all()) == []


@given(data=st.binary(max_size=1000))
def test_what_was_put_comes_back(data: bytes) -> None:
    store = open_blobs("memory://")
    assert store.get(store.put(data)) == data


def test_streams_in_pieces(store: Blobs) -> None:
    data = os.urandom(2 * CHUNK + 5)
    name = store.put(data)
    pieces = list(store.stream(name, 3, len(data) - 1))
    assert b"".join(pieces) == data[3:-1]
    assert max(map(len, pieces)) <= CHUNK
    assert list(store.stream(name, 4, 4)) == []


def test_a_file_is_stored_without_being_read_into_memory(store: Blobs, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    store.put_file(file, content_hash(b"content"))
    assert store.get(content_hash(b"content")) == b"content"


def test_what_is_not_there_is_not_found(store: Blobs) -> None:
    for ask in (store.get, store.size):
        with pytest.raises(NotFound):
            ask(NOTHING)
    with pytest.raises(NotFound):
        store.admit(NOTHING, 10)
    assert store.keep(NOTHING) is False
    assert store.is_older(NOTHING, time.time()) is False


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 64 + "/x"])
def test_a_name_cannot_leave_the_store(store: Blobs, name: str) -> None:
    for ask in (store.get, store.size, store.delete):
        if ask != store.delete:
            with pytest.raises(NotFound):
                ask(BlobHash(name))
        else:
            ask(BlobHash(name))


def test_a_damaged_blob_is_never_returned(tmp_path: Path) -> None:
    store = open_blobs(str(tmp_path))
    name = store.put(b"good")
    (tmp_path / "blobs" / name[:2] / name).write_bytes(b"evil")
    with pytest.raises(CorruptBlob, match=name[:12]):
        store.get(name)


def test_storing_again_makes_an_old_blob_young(tmp_path: Path) -> None:
    store = open_blobs(str(tmp_path))
    name = store.put(b"made twice")
    file = tmp_path / "blobs" / name[:2] / name
    os.utime(file, (1000, 1000))
    assert store.is_older(name, 2000)
    store.put(b"made twice")
    assert not store.is_older(name, time.time() - 60)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("No space left on device (os error 28)", StorageFull),
        ("Disk quota exceeded (os error 122)", StorageFull),
        ("connection refused", Unavailable),
    ],
)
def test_a_failing_store_is_named(
    store: Blobs, monkeypatch: pytest.MonkeyPatch, said: str, raised: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise obstore.exceptions.GenericError(said)

    monkeypatch.setattr(obstore, "put", fail)
    with pytest.raises(raised) as caught:
        store.put(b"x")
    assert type(caught.value) is raised


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--store: cannot write"):
        open_blobs(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot use 'gopher://x'"):
        open_blobs("gopher://x")


def test_a_folder_has_no_signed_urls(store: Blobs) -> None:
    assert store.sign_get(NOTHING, 60) is None
    assert store.sign_put(NOTHING, 60) is None
