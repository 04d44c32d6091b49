"""What the hub's answers, and things that are no hub's answers, become."""

from __future__ import annotations

import threading
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_fake_hub import KEY, TOKEN, FakeHub, error

from commonweal.core.clock import ManualClock
from commonweal.core.errors import (
    CommonwealError,
    Conflict,
    CorruptBlob,
    NotAuthorized,
    NotFound,
    Overloaded,
    StorageFull,
    Unavailable,
    UserError,
)
from commonweal.pool import wire
from commonweal.pool.worker.answers import LONGEST_RETRY_AFTER, retry_after
from commonweal.pool.worker.client import HubClient, hub_url, version_key
from commonweal.pool.worker.diagnosis import is_final
from commonweal.pool.worker.patience import UNTIL_STOPPED, Patience, Retry, Stopped, wait


def client(handler: object, version: str = "0.1.0") -> HubClient:
    return HubClient("http://hub.test/", version=version, key=KEY, transport=httpx.MockTransport(handler))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("response", "kind", "code"),
    [
        (error(401, "not_authorized"), NotAuthorized, "not_authorized"),
        (error(403, "forbidden"), NotAuthorized, "forbidden"),
        (error(404, "not_found"), NotFound, "not_found"),
        (error(409, "stale_lease"), Conflict, "stale_lease"),
        (error(422, "wrong_hash"), CorruptBlob, "wrong_hash"),
        (error(422, "invalid_request"), UserError, "invalid_request"),
        (error(426, "client_too_old"), UserError, "client_too_old"),
        (error(429, "overloaded"), Overloaded, "overloaded"),
        (error(500, "error"), Unavailable, "unavailable"),
        (error(503, "unavailable"), Unavailable, "unavailable"),
        (error(507, "storage_full"), Unavailable, "unavailable"),
        (httpx.Response(502, text="<html>Bad gateway"), Unavailable, "unavailable"),
        (httpx.Response(404, text="<html>"), NotFound, "not_found"),
        (httpx.Response(200, text="<html>Please log in to the Wi-Fi"), Unavailable, "unavailable"),
        (httpx.Response(200, json={"service": "other"}), Unavailable, "unavailable"),
        (httpx.Response(301, headers={"Location": "https://hub.test"}), UserError, "invalid_request"),
    ],
)
def test_answers_become_errors(response: httpx.Response, kind: type, code: str) -> None:
    with pytest.raises(CommonwealError) as caught:
        client(lambda request: response).hello()
    assert type(caught.value) is kind
    assert caught.value.code == code


def test_the_hubs_full_disk_is_not_this_one() -> None:
    with pytest.raises(Unavailable) as caught:
        client(lambda request: error(507, "storage_full")).leave()
    assert not isinstance(caught.value, StorageFull)


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_network_failures_are_unavailable(kind: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise kind("x")

    with pytest.raises(Unavailable):
        client(handler).hello()


def test_an_old_client_is_told_what_to_do() -> None:
    hub = FakeHub()
    hub.oldest = "0.2"
    with pytest.raises(UserError, match="upgrade") as caught:
        client(hub).hello()
    assert is_final(caught.value)
    with pytest.raises(UserError, match="upgrade") as caught:
        client(lambda r: error(426, "client_too_old", "too old")).leave()
    assert is_final(caught.value)


def test_every_call_says_who_and_what_version() -> None:
    hub = FakeHub()
    with pytest.raises(NotAuthorized):
        client(hub).register(register(), "wrong-token")
    assert client(hub).register(register(), TOKEN).key == KEY
    client(hub).leave()
    assert {r.headers["X-Commonweal-Version"] for r in hub.requests} == {"0.1.0"}
    assert [r.headers["Authorization"] for r in hub.requests] == [
        "Bearer wrong-token",
        f"Bearer {TOKEN}",
        f"Bearer {KEY}",
    ]


def register() -> wire.Register:
    return wire.Register(name="pc", client_version="0.1.0", roles=["train"], request_id="req_12345678")


def test_a_hub_cannot_lead_a_request_elsewhere() -> None:
    with pytest.raises(CommonwealError, match="identifier"):
        client(FakeHub()).release("../../members", wire.Release(fence=1))


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "http://", "https://a b", "http://h?x=1", "https://[", "x\x00y"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UserError):
        hub_url(text)


@given(st.text(max_size=60))
def test_any_address_is_an_url_or_an_error(text: str) -> None:
    try:
        url = hub_url(text)
    except UserError:
        return
    assert url.startswith(("http://", "https://"))
    assert hub_url(url) == url


@given(st.text(max_size=40), st.floats(0, 2e9))
def test_any_retry_after_is_bounded(text: str, now: float) -> None:
    assert 0 <= retry_after(text, now) <= LONGEST_RETRY_AFTER


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e999", "Thu, 01 Jan 1970 00:01:00 GMT"])
def test_odd_retry_after(text: str) -> None:
    assert 0 <= retry_after(text, 0) <= LONGEST_RETRY_AFTER


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4)
)
def test_versions_compare_like_their_numbers(a: list[int], b: list[int]) -> None:
    longest = max(len(a), len(b))
    padded = [x + [0] * (longest - len(x)) for x in (a, b)]
    keys = [version_key(".".join(map(str, x))) for x in (a, b)]
    assert (keys[0] < keys[1]) == (padded[0] < padded[1])


@given(st.text(max_size=20))
def test_any_version_has_a_key(text: str) -> None:
    version_key(text)


def failing(*errors: CommonwealError) -> tuple[list[CommonwealError], object]:
    left = list(errors)

    def action() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return left, action


def test_retry_waits_longer_each_time_but_not_for_ever() -> None:
    clock, told = ManualClock(), []
    retry = Retry(clock, Random(0), lambda reason, seconds: told.append(seconds))
    _, action = failing(*[Unavailable("away")] * 40)
    assert retry.call(action, UNTIL_STOPPED, threading.Event()) == "done"  # type: ignore[arg-type]
    assert len(told) == 40
    assert max(told[:3]) <= 2.0
    assert 15 < max(told) <= 30
    assert clock.now() == pytest.approx(sum(told), abs=40 * 0.2)


def test_retry_honours_the_hubs_wish() -> None:
    clock = ManualClock()
    _, action = failing(Overloaded("busy", retry_after=17))
    Retry(clock, Random(0)).call(action, UNTIL_STOPPED, threading.Event())  # type: ignore[arg-type]
    assert 17 <= clock.now() <= 18


def test_retry_ends() -> None:
    left, action = failing(*[Unavailable("away")] * 9)
    with pytest.raises(Unavailable):
        Retry(ManualClock(), Random(0)).call(action, Patience(attempts=4), threading.Event())  # type: ignore[arg-type]
    assert len(left) == 5


@pytest.mark.parametrize("passing", [Conflict("x"), StorageFull("x"), NotAuthorized("x")])
def test_retry_lets_pass_what_waiting_does_not_help(passing: CommonwealError) -> None:
    left, action = failing(passing, passing)
    with pytest.raises(type(passing)):
        Retry(ManualClock(), Random(0)).call(action, UNTIL_STOPPED, threading.Event())  # type: ignore[arg-type]
    assert len(left) == 1


def test_waiting_can_be_stopped() -> None:
    stop = threading.Event()

    class Clock(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now() > 3:
                stop.set()

    clock = Clock()
    with pytest.raises(Stopped):
        wait(clock, 1000, stop)
    assert clock.now() < 4


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_delays_are_within_bounds(failures: int, seed: int) -> None:
    patience = Patience(first=0.5, longest=30)
    assert 0 <= patience.delay(failures, Random(seed)) <= min(30, 0.5 * 2 ** min(failures - 1, 30))
