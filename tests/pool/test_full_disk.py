"""A blob store on a file system that is truly full: a hub on a small one of its own, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pool_hub import CountingJob, running_hub
from test_foreman_faults import Steps

from commonweal.core.blobs import open_blobs
from commonweal.core.database import connect
from commonweal.core.errors import StorageFull
from commonweal.core.work import Json

SIZE = 4 << 20
APART = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
"""Root needs no namespace of users, in which it could not reach the server of another one."""
MOUNT = f"mount -t tmpfs -o size={SIZE} none"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a small file system can be mounted by a process apart from this one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            [*APART, *MOUNT.split(), str(folder)], capture_output=True, text=True, timeout=30
        )
    except OSError as error:
        pytest.skip(f"a file system of one's own cannot be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"a file system of one's own cannot be mounted here: {done.stderr.strip()}")
    return folder


@pytest.mark.parametrize("scenario", ["of_the_store", "of_the_hub"])
def test_a_disk_that_is_full(disk: Path, database_url: str, scenario: str) -> None:
    program = f"{MOUNT} {disk} && exec {sys.executable} -c 'import test_full_disk as t; t.{scenario}()'"
    told = {"PYTHONPATH": os.pathsep.join(sys.path), "DISK": str(disk), "DATABASE": database_url}
    done = subprocess.run(
        [*APART, "sh", "-c", program], env=os.environ | told, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all of it"


def of_the_store() -> None:
    """What does not fit is refused as such, and leaves nothing under its name; the rest is as it was."""
    disk = Path(os.environ["DISK"])
    blobs = open_blobs(str(disk / "store"))
    before, after = blobs.put(b"before" * 1000), os.urandom(SIZE // 4)
    filler = fill(disk)
    for data in (after, os.urandom(100_000)):
        with pytest.raises(StorageFull):
            blobs.put(data)
    source = Path(os.environ["DISK"]).parent / "elsewhere"
    source.write_bytes(after)
    with pytest.raises(StorageFull):
        blobs.put_file(source, hashlib.sha256(after).hexdigest())  # type: ignore[arg-type]
    assert [blob.hash for blob in blobs.all()] == [before]
    assert blobs.get(before) == b"before" * 1000
    filler.unlink()
    assert blobs.get(blobs.put(after)) == after
    left = SIZE - sum(path.stat().st_size for path in disk.rglob("*"))
    assert left > SIZE // 2, "what failed has left something behind"
    print("all of it")


def of_the_hub() -> None:
    """An upload is a 507 and goes on where it was; a fold waits. Both succeed once there is room."""
    disk = Path(os.environ["DISK"])
    database, blobs = connect(os.environ["DATABASE"]), open_blobs(str(disk / "store"))
    checkpoint = os.urandom(SIZE // 4)

    class Storing(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            blobs.put(checkpoint)
            return super().fold(state, results, now)

    with running_hub(database, blobs, disk, fold=False) as hub:
        member, data = hub.member(), os.urandom(SIZE // 4)
        name = hashlib.sha256(data).hexdigest()
        job, steps = hub.submit_job(rounds=1, units=1, price=5), Steps(database, Storing)
        steps.foreman.step(job, time.time())
        assert member.submit(member.lease(), count=4).status_code == 200
        filler = fill(disk)
        reply = member.client.patch(f"/uploads/{name}", params={"offset": 0, "size": len(data)}, content=data)
        assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
        with pytest.raises(StorageFull):
            steps.foreman.step(job, time.time())
        assert (hub.job(job)["status"], steps.submitted(job)) == ("running", 1)
        filler.unlink()
        offset = member.client.post("/uploads", json={"hash": name, "size": len(data)}).json()["offset"]
        reply = member.client.patch(
            f"/uploads/{name}", params={"offset": offset, "size": len(data)}, content=data[offset:]
        )
        assert reply.json() == {"offset": len(data)}
        assert member.client.get(f"/blobs/{name}").content == data
        assert steps.foreman.step(job, time.time())
        view = hub.job(job)
        assert (view["state"]["total"], view["spent"]) == (4, 5)
        assert hub.admin.post("/credits/verify").json()["ok"]
    database.close()
    print("all of it")


def fill(disk: Path) -> Path:
    """Write until there is no room for one more byte."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return path
