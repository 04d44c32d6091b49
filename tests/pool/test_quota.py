"""What an account may have uploaded that nothing names yet."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import UserError
from commonweal.pool import garbage
from commonweal.pool.client import PoolClient
from commonweal.pool.quota import LEAST
from commonweal.pool.schema import uploads

UNIT = 10_000
QUOTA = 10 * UNIT


@pytest.fixture
def hub(start_hub: Callable[..., Any]) -> Any:
    return start_hub(upload_quota=QUOTA)


def data(number: int, units: float) -> bytes:
    return bytes([number]) * round(units * UNIT)


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def announce(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post("/uploads", json={"hash": name_of(content), "size": len(content)})


def send(client: httpx.Client, content: bytes, upto: int | None = None, **where: int) -> httpx.Response:
    where = {"offset": 0, "size": len(content)} | where
    return client.patch(f"/uploads/{name_of(content)}", params=where, content=content[where["offset"] : upto])


def refused(reply: httpx.Response) -> bool:
    if reply.status_code != 413:
        return False
    told = reply.json()["error"]
    assert told["code"] == "upload_quota", told
    assert "--upload-quota" in told["hint"]
    return True


def test_what_is_under_way_counts_and_goes_on_without_counting_twice(hub: Any) -> None:
    client = hub.member("a").client
    first, second = data(1, 6), data(2, 6)
    assert announce(client, first).status_code == 200
    assert refused(announce(client, second))
    assert refused(send(client, second)), "whoever does not ask first is asked all the same"
    assert send(client, first, upto=UNIT).json() == {"offset": UNIT}
    assert announce(client, first).json()["offset"] == UNIT
    assert send(client, first, offset=UNIT).json() == {"offset": 6 * UNIT}
    assert announce(client, data(3, 4)).status_code == 200, "up to the last byte"
    assert announce(hub.member("b").client, second).status_code == 200, "each has a quota of its own"


def test_what_is_complete_counts_until_a_result_names_it(hub: Any) -> None:
    member = hub.member()
    hub.submit_job(units=1, target=30)
    result, next_one = data(1, 9), data(2, 9)
    assert send(member.client, result).status_code == 200
    assert refused(announce(member.client, next_one))
    assert member.submit(member.lease(), blobs={"delta": name_of(result)}).status_code == 200
    assert announce(member.client, next_one).status_code == 200


def test_what_a_job_names_counts_no_more(hub: Any) -> None:
    member = hub.member()
    text = data(1, 9)
    send(member.client, text)
    job = {
        "kind": "count",
        "name": "n",
        "spec": {"units": 0},
        "blobs": [name_of(text)],
        "request_id": "request-1",
    }
    assert member.client.post("/jobs", json=job).status_code == 201
    assert announce(member.client, data(2, 9)).status_code == 200


def test_a_lie_about_the_size_helps_nobody(hub: Any) -> None:
    client = hub.member().client
    content = data(1, 9)
    assert send(client, content, upto=1, size=2).json() == {"offset": 1}
    assert refused(send(client, content, offset=1, size=50 * UNIT)), "it grows"
    assert send(client, content, upto=UNIT, offset=1).json() == {"offset": UNIT}
    assert send(client, content, upto=UNIT, offset=UNIT, size=1).status_code == 413, "it shrinks"
    assert refused(announce(client, data(2, 2)))


def test_many_requests_at_once_do_not_slip_through(hub: Any, database: Database) -> None:
    key = hub.member().client.headers["Authorization"][7:]
    statuses: list[int] = []

    def ask(number: int) -> None:
        with hub.client(key) as client:
            statuses.append(announce(client, data(number, 4)).status_code)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 2 + [413] * 10
    with database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.sum(uploads.c.size))).scalar() == 8 * UNIT


def test_empty_blobs_fill_a_disk_as_well(hub: Any) -> None:
    client = hub.member().client
    statuses = [
        client.post("/uploads", json={"hash": f"{i:064}", "size": 0}).status_code
        for i in range(QUOTA // LEAST + 2)
    ]
    assert statuses == [200] * (QUOTA // LEAST) + [413] * 2


def test_the_operator_has_none(hub: Any) -> None:
    assert announce(hub.admin, data(1, 100)).status_code == 200


def age(part: Path) -> None:
    os.utime(part, (1000, 1000))


def test_what_was_collected_counts_no_more(
    hub: Any, database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    client = hub.member().client
    orphan = data(1, 9)
    send(client, orphan)
    age(tmp_path / "store" / "blobs" / name_of(orphan)[:2] / name_of(orphan))
    assert garbage.collect(database, blobs, time.time(), keep_seconds=3600) == 1
    assert announce(client, data(2, 9)).status_code == 200


def test_what_was_given_up_counts_until_it_is_swept(
    hub: Any, database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    client = hub.member().client
    half, whole = data(1, 5), data(2, 5)
    send(client, half, upto=UNIT)
    send(client, whole)
    now = time.time()
    assert garbage.forget_abandoned(database, blobs, now, keep_seconds=3600) == 0, "it may go on yet"
    later = now + 7200
    assert garbage.sweep(tmp_path / "incoming", later, keep_seconds=3600) == 1
    assert garbage.forget_abandoned(database, blobs, later, keep_seconds=3600) == 1
    assert announce(client, data(3, 5)).status_code == 200
    assert refused(announce(client, data(4, 0.1))), "what is in the store counts for as long as it is there"


def test_the_client_says_so_and_does_not_try_again(hub: Any) -> None:
    key = hub.member().client.headers["Authorization"][7:]
    client = PoolClient(hub.url, key, version="0.1.0")
    begun = time.monotonic()
    with pytest.raises(UserError, match="nothing names yet") as caught:
        client.put(data(1, 10.1))
    client.close()
    assert caught.value.code == "upload_quota"
    assert "--upload-quota" in (caught.value.hint or "")
    assert time.monotonic() - begun < 10
