"""Blobs over a bad network: continued, verified, limited, measured, and without the key on the way to stores."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from worker_fake_hub import KEY, FakeHub, cut, error, served, unreachable

from commonweal.core.clock import ManualClock, SystemClock
from commonweal.core.errors import CommonwealError, CorruptBlob, NotFound, StorageFull, Unavailable
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.pool.worker.cache import Cache
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.download import Downloads
from commonweal.pool.worker.patience import Retry, Stopped
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.upload import CHUNK, Uploads

DATA = bytes(Random(0).randbytes(300_000))


class Ends:
    """Both directions between one member and a fake hub."""

    def __init__(self, folder: Path, hub: FakeHub, url: str = "http://hub.test", rate: float | None = None):
        self.hub, self.clock, self.stop = hub, ManualClock(), threading.Event()
        transport = None if url.startswith("http://127") else httpx.MockTransport(hub)
        self.client = HubClient(url, version="0.1.0", key=KEY, transport=transport)
        self.cache = Cache(folder, 10**9)
        self.meter = Meter(self.clock)
        self.retry = Retry(self.clock, Random(1))
        self.downloads = Downloads(self.client, self.cache, self.retry, self.meter)
        self.uploads = Uploads(self.client, self.retry, self.meter, TokenBucket(rate, self.clock))

    def get(self, name: str) -> bytes:
        return self.downloads.get(BlobHash(name), self.stop)

    def put(self, data: bytes) -> str:
        return self.uploads.put(data, self.stop)


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def ends(tmp_path: Path, hub: FakeHub) -> Iterator[Ends]:
    ends = Ends(tmp_path, hub)
    yield ends
    ends.client.close()


def test_download_is_kept(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    assert ends.get(name) == DATA
    assert ends.get(name) == DATA
    assert len(hub.asked("GET blobs")) == 1
    assert ends.meter.take().down_bytes == len(DATA)


def test_a_download_tells_how_much_is_here_also_when_it_goes_on(tmp_path: Path, hub: FakeHub) -> None:
    told: list[tuple[int, int | None]] = []
    ends, name = Ends(tmp_path, hub), hub.add(DATA)
    ends.downloads = Downloads(
        ends.client, ends.cache, ends.retry, ends.meter, told=lambda here, size: told.append((here, size))
    )
    hub.fail("GET blobs", cut(DATA, 100_000))
    assert ends.get(name) == DATA
    assert {size for _, size in told} == {len(DATA)}
    assert [here for here, _ in told] == sorted(here for here, _ in told)
    assert (100_000, len(DATA)) in told
    assert told[-1][0] == len(DATA)


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_blobs_travel(ends: Ends, hub: FakeHub, size: int) -> None:
    data = b"x" * size
    assert ends.get(hub.add(data)) == data
    del hub.blobs[content_hash(data)]
    assert hub.blobs[ends.put(data)] == data


def test_broken_download_is_continued_by_range(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", cut(DATA, 100_000), unreachable, cut(DATA, 50_000))
    assert ends.get(name) == DATA
    asked = [r.headers.get("Range") for r in hub.asked("GET blobs")]
    assert asked == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]


def test_a_link_that_breaks_often_but_moves_is_not_given_up(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", *[cut(DATA, 10_000)] * 25)
    assert ends.get(name) == DATA


def test_a_link_that_does_not_move_is_given_up(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", cut(DATA, 1000), *[unreachable] * 99)
    with pytest.raises(Unavailable):
        ends.get(name)
    assert len(hub.asked("GET blobs")) == 1 + 29
    assert 180 < ends.clock.now() < 600


def test_download_goes_on_after_the_process_was_killed(tmp_path: Path, ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", cut(DATA, 123_456), *[unreachable] * 29)
    with pytest.raises(Unavailable):
        ends.get(name)
    again = Ends(tmp_path, hub)
    assert again.get(name) == DATA
    assert hub.requests[-1].headers["Range"] == "bytes=123456-"


def test_killed_between_the_last_byte_and_the_name(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    with ends.cache.continuing(BlobHash(name), 0) as file:
        file.write(DATA)
    assert ends.get(name) == DATA
    assert len(hub.asked("GET blobs")) == 1  # the answer was 416: nothing is missing


def test_corrupt_download_is_tried_once_more_from_zero(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", lambda r: httpx.Response(200, content=b"!" + DATA[1:]))
    assert ends.get(name) == DATA
    assert [r.headers.get("Range") for r in hub.asked("GET blobs")] == [None, None]


def test_a_part_that_is_too_long_or_wrong_is_healed(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    for wrong in (DATA + b"more", b"?" * 1000):
        with ends.cache.continuing(BlobHash(name), 0) as file:
            file.write(wrong)
        assert ends.get(name) == DATA
        ends.cache.clear()


def test_download_that_is_always_corrupt(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.blobs[name] = DATA[:-1]
    with pytest.raises(CorruptBlob):
        ends.get(name)
    assert ends.cache.read(BlobHash(name)) is None
    assert ends.cache.part_size(BlobHash(name)) == 0
    assert len(hub.asked("GET blobs")) == 2


def test_server_without_ranges_starts_again(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail("GET blobs", cut(DATA, 100), lambda r: httpx.Response(200, content=DATA))
    assert ends.get(name) == DATA


def test_missing_blob_is_not_asked_for_again(ends: Ends, hub: FakeHub) -> None:
    with pytest.raises(NotFound):
        ends.get(content_hash(b"nowhere"))
    assert len(hub.requests) == 1


def test_damaged_file_in_the_cache_is_fetched_again(ends: Ends, hub: FakeHub, tmp_path: Path) -> None:
    name = hub.add(DATA)
    ends.get(name)
    (tmp_path / name[:2] / name).write_bytes(b"rot")
    assert ends.get(name) == DATA


def test_redirect_is_followed_without_the_key(ends: Ends, hub: FakeHub) -> None:
    name = hub.add(DATA)
    hub.fail(
        "GET blobs", lambda r: httpx.Response(307, headers={"Location": f"http://store.test/{name}?sig=1"})
    )
    assert ends.get(name) == DATA
    first, second = hub.requests
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert second.url.host == "store.test"
    assert "Authorization" not in second.headers
    assert KEY not in str(second.headers)


def test_redirect_that_drops_encryption_is_refused(tmp_path: Path, hub: FakeHub) -> None:
    ends = Ends(tmp_path, hub, "https://hub.test")
    for location in ("http://store.test/x", "file:///etc/passwd"):
        hub.fail("GET blobs", lambda r, to=location: httpx.Response(307, headers={"Location": to}))
        with pytest.raises(CommonwealError, match="not safe"):
            ends.get(content_hash(DATA))
    assert all(r.url.host == "hub.test" for r in hub.requests)


def test_full_disk(ends: Ends, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    name = hub.add(DATA)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("commonweal.pool.worker.cache.open", full, raising=False)
    with pytest.raises(StorageFull):
        ends.get(name)
    assert len(hub.requests) == 1
    monkeypatch.undo()
    assert ends.get(name) == DATA


def test_upload_is_not_sent_twice(ends: Ends, hub: FakeHub) -> None:
    assert ends.put(DATA) == content_hash(DATA)
    ends.put(DATA)
    assert hub.blobs[content_hash(DATA)] == DATA
    assert len(hub.asked("PATCH uploads")) == 1
    assert ends.meter.take().up_bytes == len(DATA)


def test_broken_upload_is_continued_where_the_hub_is(ends: Ends, hub: FakeHub) -> None:
    name = content_hash(DATA)

    def breaks(request: httpx.Request) -> httpx.Response:
        hub.parts[name].extend(request.read()[:70_000])
        raise httpx.WriteError("broken pipe")

    hub.fail("PATCH uploads", breaks)
    ends.put(DATA)
    assert hub.blobs[name] == DATA
    first, second = hub.asked("PATCH uploads")
    assert (first.url.params["offset"], second.url.params["offset"]) == ("0", "70000")
    assert len(second.content) == len(DATA) - 70_000


def test_upload_goes_on_where_the_hub_says_it_is(ends: Ends, hub: FakeHub) -> None:
    name = content_hash(DATA)
    hub.fail("PATCH uploads", lambda r: hub.parts[name].extend(DATA[:10]) or error(409, "conflict"))
    ends.put(DATA)
    assert hub.blobs[name] == DATA


def test_large_upload_goes_in_chunks(ends: Ends, hub: FakeHub) -> None:
    data = bytes(CHUNK + 5)
    ends.put(data)
    assert [int(r.url.params["offset"]) for r in hub.asked("PATCH uploads")] == [0, CHUNK]


def test_upload_damaged_on_the_way(ends: Ends, hub: FakeHub) -> None:
    hub.fail("PATCH uploads", lambda r: hub.parts.clear() or error(422, "wrong_hash"))
    ends.put(DATA)
    assert hub.blobs[content_hash(DATA)] == DATA
    hub.blobs.clear()
    hub.fail("PATCH uploads", *[lambda r: hub.parts.clear() or error(422, "wrong_hash")] * 2)
    with pytest.raises(CorruptBlob):
        ends.put(DATA)


@pytest.mark.parametrize("offset", [-1, len(DATA) + 1])
def test_upload_to_a_hub_that_tells_nonsense_ends(ends: Ends, hub: FakeHub, offset: int) -> None:
    nonsense = httpx.Response(200, json={"complete": False, "offset": offset})
    hub.fail("POST uploads", *[lambda r: nonsense] * 30)
    with pytest.raises(Unavailable):
        ends.put(DATA)


def test_upload_straight_to_the_store(ends: Ends, hub: FakeHub) -> None:
    name = content_hash(DATA)
    url = f"http://store.test/{name}"
    hub.fail("POST uploads", lambda r: httpx.Response(200, json={"complete": False, "url": url}))
    ends.put(DATA)
    _, put, complete = hub.requests
    assert (put.method, put.url.host, put.content) == ("PUT", "store.test", DATA)
    assert "Authorization" not in put.headers
    assert put.headers["Content-Length"] == str(len(DATA))
    assert "Transfer-Encoding" not in put.headers
    assert complete.url.path.endswith(f"/uploads/{name}/complete")


def parts_from(*starts: int, size: int = 100_000) -> Any:
    """The hub names these parts of DATA."""
    parts = [{"start": start, "size": size, "url": f"http://store.test/{start}"} for start in starts]
    return lambda request: httpx.Response(200, json={"complete": False, "parts": parts})


def test_upload_in_parts_until_the_hub_names_no_more(ends: Ends, hub: FakeHub) -> None:
    hub.fail("POST uploads", parts_from(0, 100_000), parts_from(200_000), parts_from())
    ends.put(DATA)
    assert [hub.blobs[str(start)] for start in (0, 100_000, 200_000)] == [
        DATA[start : start + 100_000] for start in (0, 100_000, 200_000)
    ]
    assert f"/complete?size={len(DATA)}" in str(hub.requests[-1].url)
    assert b'"parts":true' in hub.requests[0].content
    assert ends.meter.take().up_bytes == len(DATA)


def test_upload_of_parts_that_the_store_lost_begins_again(ends: Ends, hub: FakeHub) -> None:
    gone = error(404, "not_found", "parts are missing")
    hub.fail("POST uploads", parts_from(), lambda r: gone, parts_from(0), parts_from())
    ends.put(DATA)
    assert hub.blobs["0"] == DATA[:100_000]


@pytest.mark.parametrize("again", [(0,), (200_001,), (100_000, 100_000)])
def test_upload_of_parts_that_cannot_be_ends(ends: Ends, hub: FakeHub, again: tuple[int, ...]) -> None:
    hub.fail("POST uploads", *[parts_from(0), parts_from(*again)] * 30)
    with pytest.raises(Unavailable, match="the hub wants bytes"):
        ends.put(DATA)


@pytest.mark.parametrize(("rate", "seconds"), [(1_250_000.0, 8.0), (10_000.0, 30.0)])
def test_upload_limit(tmp_path: Path, hub: FakeHub, rate: float, seconds: float) -> None:
    ends = Ends(tmp_path, hub, rate=rate)
    ends.put(bytes(int(rate * seconds)))
    assert seconds - 0.5 <= ends.clock.now() <= seconds + 0.5


def test_limited_upload_can_be_stopped_in_the_middle(tmp_path: Path, hub: FakeHub) -> None:
    class StopsAt(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now() > 5:
                ends.stop.set()

    ends = Ends(tmp_path, hub)
    clock = StopsAt()
    ends.uploads = Uploads(ends.client, ends.retry, ends.meter, TokenBucket(10_000.0, clock))
    with pytest.raises(Stopped):
        ends.put(DATA)
    assert clock.now() < 6


def test_bucket_survives_a_clock_set_back() -> None:
    clock = ManualClock(1000.0)
    bucket = TokenBucket(100.0, clock)
    clock.sleep(-900.0)
    bucket.take(125, threading.Event())
    assert 100.9 < clock.now() < 101.2


def test_over_a_real_socket(tmp_path: Path, hub: FakeHub) -> None:
    """What the mock transport cannot show: lengths, a connection that really ends, and the next one."""
    name = hub.add(DATA)
    hub.fail("GET blobs", cut(DATA, 100_000))
    with served(hub) as url:
        ends = Ends(tmp_path, hub, url)
        assert ends.get(name) == DATA
        assert hub.requests[-1].headers["Range"] == "bytes=100000-"
        hub.blobs.clear()
        assert ends.put(DATA) == name
        ends.client.close()
    assert hub.blobs[name] == DATA


def test_measured_over_real_time(tmp_path: Path, hub: FakeHub) -> None:
    meter = Meter(SystemClock())
    with meter.sending() as counter:
        counter.size = 1000
    with meter.receiving() as counter:
        counter.size = 10
    with suppress(Unavailable), meter.receiving() as counter:
        counter.size = 10**6
        raise Unavailable("broke off")
    taken = meter.take()
    assert (taken.up_bytes, taken.down_bytes) == (1000, 10)
    assert meter.take().up_bytes == 0
    meter.give_back(taken)
    meter.give_back(taken)
    assert meter.take().up_bytes == 2000
