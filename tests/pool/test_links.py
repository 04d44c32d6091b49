"""Link speeds are what the hub saw; a member's word counts only for what nobody else could time, and within bounds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pool_hub import RunningHub, TestMember

from commonweal.core.database import Database
from commonweal.core.ids import MemberId
from commonweal.pool import links
from commonweal.pool.links import BUFFERED_BYTES, LEAST_BYTES
from commonweal.pool.schema import members
from commonweal.pool.wire import Transfers

ADA = MemberId("mem_ada")


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.transaction() as connection:
        connection.execute(
            members.insert().values(
                id=ADA, name="ada", client_version="1", roles=["train"], platform={}, joined=0, last_seen=0,
                request_id="ada",
            )
        )  # fmt: skip
        yield connection


def speeds(connection: sa.Connection) -> tuple[float | None, float | None]:
    row = connection.execute(sa.select(members.c.upload, members.c.download).where(members.c.id == ADA)).one()
    return row.upload, row.download


def test_what_comes_through_the_hub_is_timed_by_it(connection: sa.Connection) -> None:
    links.uploaded(connection, ADA, 1_000_000, 2.0)
    links.uploaded(connection, ADA, LEAST_BYTES - 1, 1000.0)
    links.downloaded(connection, ADA, BUFFERED_BYTES, began=0.0, seconds=4.0)
    assert speeds(connection) == (500_000, BUFFERED_BYTES / 4)


LOW = Transfers(up_bytes=16_384, up_seconds=1e7, down_bytes=16_384, down_seconds=1e7)


def test_a_claim_without_bytes_that_moved_is_nothing(connection: sa.Connection) -> None:
    links.claimed(connection, ADA, LOW, 100.0)
    assert speeds(connection) == (None, None)
    links.uploaded(connection, ADA, 1_000_000, 2.0)
    links.downloaded(connection, ADA, BUFFERED_BYTES, began=0.0, seconds=4.0)
    links.claimed(connection, ADA, LOW, 100.0)
    assert speeds(connection) == (500_000, BUFFERED_BYTES / 4), "what was timed is not claimed for"


def test_a_small_download_took_as_long_as_the_member_says(connection: sa.Connection) -> None:
    """The hub had handed 500 kB over after 10 ms; they came through the link in 2 s."""
    links.downloaded(connection, ADA, 500_000, began=100.0, seconds=0.01)
    links.claimed(connection, ADA, Transfers(down_bytes=500_000, down_seconds=2.0), 105.0)
    assert speeds(connection) == (None, 250_000)


def test_a_claim_is_no_slower_than_the_clock_and_no_faster_than_the_hub(connection: sa.Connection) -> None:
    links.downloaded(connection, ADA, 500_000, began=100.0, seconds=0.5)
    links.claimed(connection, ADA, LOW.model_copy(update={"down_bytes": 500_000}), 110.0)
    assert speeds(connection) == (None, 50_000), "ten seconds have passed since, not 1e7"
    links.claimed(connection, ADA, LOW.model_copy(update={"down_bytes": 500_000}), 1e6)
    assert speeds(connection) == (None, 50_000), "and it counts once"
    links.downloaded(connection, ADA, 500_000, began=200.0, seconds=0.5)
    links.claimed(connection, ADA, Transfers(down_bytes=2**53, down_seconds=1e-300), 210.0)
    assert speeds(connection)[1] == pytest.approx(50_000 + 0.3 * (1_000_000 - 50_000))


def test_bytes_that_went_to_the_store_took_as_long_as_the_member_says(connection: sa.Connection) -> None:
    links.awaited(connection, ADA, 100.0)
    links.claimed(connection, ADA, Transfers(up_bytes=500_000, up_seconds=2.0), 104.0)
    assert speeds(connection) == (None, None), "none has arrived"
    links.stored(connection, ADA, 500_000, 104.0)
    links.claimed(connection, ADA, Transfers(up_bytes=500_000, up_seconds=2.0), 105.0)
    assert speeds(connection) == (250_000, None)


def test_bytes_nobody_announced_are_timed_from_their_arrival_on(connection: sa.Connection) -> None:
    links.stored(connection, ADA, 500_000, 104.0)
    links.claimed(connection, ADA, Transfers(up_bytes=500_000, up_seconds=1e7), 105.0)
    assert speeds(connection) == (500_000, None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrived=st.integers(0, 10**9),
    passed=st.floats(0, 1000),
    size=st.integers(0, 2**53),
    seconds=st.floats(0, 1e7),
)
def test_no_claim_leads_beyond_what_was_seen(
    connection: sa.Connection, arrived: int, passed: float, size: int, seconds: float
) -> None:
    nested = connection.begin_nested()
    links.awaited(connection, ADA, 100.0)
    links.stored(connection, ADA, arrived, 100.0 + passed)
    links.claimed(connection, ADA, Transfers(up_bytes=size, up_seconds=seconds), 100.0 + passed)
    upload, _ = speeds(connection)
    if upload is not None:
        slowest = min(1e11, LEAST_BYTES / passed) if passed else 1e11
        assert 0.999 * slowest <= upload <= 1e11
        assert min(size, arrived) >= LEAST_BYTES
    nested.rollback()


def put_slowly(hub: RunningHub, member: TestMember, data: bytes, seconds: float) -> None:
    name = hashlib.sha256(data).hexdigest()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), len(data) // 4):
            time.sleep(seconds / 4)
            yield data[start : start + len(data) // 4]

    member.client.post("/uploads", json={"hash": name, "size": len(data)}).raise_for_status()
    where = {"offset": 0, "size": len(data)}
    headers = {"Content-Length": str(len(data))}
    reply = member.client.patch(f"/uploads/{name}", params=where, content=pieces(), headers=headers)
    assert reply.json() == {"offset": len(data)}


def row_of(hub: RunningHub, member: TestMember) -> dict[str, Any]:
    return next(m for m in hub.admin.get("/members").json() if m["id"] == member.id)


def test_an_upload_through_the_hub_has_the_speed_of_its_bytes(hub: RunningHub) -> None:
    slow, fast = hub.member("slow"), hub.member("fast")
    put_slowly(hub, slow, b"slow" * 100_000, 0.8)
    put_slowly(hub, fast, b"fast" * 100_000, 0.0)
    assert 100_000 < row_of(hub, slow)["upload"] < 550_000
    assert row_of(hub, fast)["upload"] > 2 * row_of(hub, slow)["upload"]


@pytest.mark.parametrize("how", ["heartbeat", "submit"])
def test_a_member_that_claims_a_thousandth_of_a_byte_a_second_is_not_believed(
    hub: RunningHub, how: str
) -> None:
    member = hub.member()
    put_slowly(hub, member, b"x" * 400_000, 0.0)
    name = hashlib.sha256(b"x" * 400_000).hexdigest()
    assert len(member.client.get(f"/blobs/{name}").content) == 400_000
    before = row_of(hub, member)["upload"]
    began, low = time.time() - 5, LOW.model_dump()
    if how == "heartbeat":
        body = {"state": "idle", "transfers": low}
        assert member.client.post("/heartbeat", json=body).status_code == 200
    else:
        hub.submit_job(units=1, rounds=1)
        lease = member.lease()
        assert lease is not None
        assert member.submit(lease, transfers=low).status_code == 200
    after = row_of(hub, member)
    assert after["upload"] == before
    if after["download"] is not None:  # seconds have passed, not months
        assert after["download"] > LEAST_BYTES / (time.time() - began)


def test_a_download_that_breaks_off_says_nothing(hub: RunningHub) -> None:
    member = hub.member()
    data = b"y" * (4 * BUFFERED_BYTES)
    put_slowly(hub, member, data, 0.0)
    path = f"/blobs/{hashlib.sha256(data).hexdigest()}"
    with member.client.stream("GET", path) as response:
        next(response.iter_bytes(1000))
    assert row_of(hub, member)["download"] is None
    assert len(member.client.get(path).content) == len(data)
    wait_for(lambda: row_of(hub, member)["download"])


def wait_for(happened: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
