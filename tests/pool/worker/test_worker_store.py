"""The member's folder: locked, private, bounded, and healed where it is damaged."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.errors import StorageFull, UserError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.ids import MemberId
from commonweal.pool.worker import disk
from commonweal.pool.worker.cache import Cache
from commonweal.pool.worker.store import HeldLease, Identity, Store

ME = Identity(hub="https://hub.example", member=MemberId("mem_1"), key="cwmember-secret", name="pc")


def put(cache: Cache, data: bytes, used: float) -> BlobHash:
    name = content_hash(data)
    cache.make_room(len(data), keep=name)
    with cache.continuing(name, 0) as file:
        file.write(data)
    assert cache.admit(name) == data
    os.utime(cache.folder / name[:2] / name, (used, used))
    return name


def test_identity_is_private_and_stays(tmp_path: Path) -> None:
    with Store(tmp_path / "state", 0) as store:
        assert store.identity(ME.hub) is None
        store.save_identity(ME)
    with Store(tmp_path / "state", 0) as store:
        assert store.identity(ME.hub) == ME
        with pytest.raises(UserError, match="belongs to"):
            store.identity("https://other.example")
    mode = (tmp_path / "state" / "identity.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert ME.key not in repr(ME)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"hub": 1}', b"\xff", b"null"])
def test_damaged_files_are_set_aside(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(damage)
    (tmp_path / "lease.json").write_bytes(damage)
    with Store(tmp_path, 0) as store:
        assert store.identity(ME.hub) is None
        assert store.lease() is None
        store.save_identity(ME)
        assert store.identity(ME.hub) == ME
    assert (tmp_path / "identity.json.damaged").read_bytes() == damage


def test_lease_is_remembered_until_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path, 0) as store:
        store.save_lease(HeldLease(unit="unit_1", fence=3))
    with Store(tmp_path, 0) as store:
        assert store.lease() == HeldLease(unit="unit_1", fence=3)
        store.forget_lease()
        store.forget_lease()
        assert store.lease() is None


def test_one_process_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from commonweal.pool.worker.store import Store\n"
        "with Store(Path(sys.argv[1]), 0): print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match="another process"), Store(tmp_path, 0):
        pass
    other.kill()
    other.communicate()
    with Store(tmp_path, 0):  # a killed process leaves no lock behind
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--state"), Store(tmp_path / "file" / "state", 0):
        pass


def test_write_whole_leaves_the_old_file_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path, 0) as store:
        store.save_identity(ME)

        def full(*args: Any) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(disk.os, "fsync", full)
        with pytest.raises(StorageFull):
            store.save_identity(Identity(hub=ME.hub, member=ME.member, key="other", name="pc"))
        store.save_lease(HeldLease(unit="unit_1", fence=1))  # only a courtesy: no error
        monkeypatch.undo()
        assert store.identity(ME.hub) == ME
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "identity.json", "lock"]
    assert json.loads((tmp_path / "identity.json").read_text())["key"] == ME.key


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 250)
    old, middle = put(cache, b"a" * 100, 1), put(cache, b"b" * 100, 2)
    assert cache.read(old) is not None  # and now it is the youngest
    new = put(cache, b"c" * 100, 3)
    assert cache.read(middle) is None
    assert cache.read(old) == b"a" * 100
    assert cache.read(new) == b"c" * 100


@given(st.lists(st.integers(1, 60), max_size=25))
def test_the_cache_stays_within_its_limit(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), 100)
    for number, size in enumerate(sizes):
        name = put(cache, bytes([number]) * size, number)
        assert cache.size() <= 100
        assert cache.read(name) is not None


def test_room_is_made_for_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, 10**9)
    first, second = put(cache, b"a" * 100, 1), put(cache, b"b" * 100, 2)
    monkeypatch.setattr("commonweal.pool.worker.cache.free_bytes", lambda folder: 64 * 1024 * 1024 + 50)
    cache.make_room(100, keep=content_hash(b"other"))
    assert cache.read(first) is None
    assert cache.read(second) is not None


def test_begun_downloads_are_pruned_but_not_the_one_at_hand(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    stale, now = content_hash(b"stale"), content_hash(b"now")
    for name in (stale, now):
        with cache.continuing(name, 0) as file:
            file.write(b"x" * 60)
        os.utime(tmp_path / name[:2] / f"{name}.part", (1, 1))
    cache.make_room(40, keep=now)
    assert (cache.part_size(stale), cache.part_size(now)) == (0, 60)


def test_clear_touches_only_blobs(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    put(cache, b"x", 1)
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / "letter.txt").write_text("mine")
    cache.clear()
    assert cache.size() == 0
    assert (tmp_path / "ab" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_hashes_are_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="content hash"):
        Cache(tmp_path, 1).read(BlobHash(name))
