"""How often an address may call without a valid key; and that a valid key never feels it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pool_hub import PREFIX

from commonweal.core.errors import Overloaded
from commonweal.pool.api.strangers import EXPORT, WRONG_KEY, Strangers
from commonweal.pool.client import PoolClient

CALLS = 5 * WRONG_KEY


@pytest.fixture
def hub(start_hub: Callable[..., Any]) -> Any:
    return start_hub(strangers_a_minute=CALLS)


def call(hub: Any, path: str, key: str | None = None, method: str = "GET", **headers: str) -> httpx.Response:
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.request(method, hub.url + path, headers=headers, timeout=30)


def exhaust(hub: Any) -> None:
    statuses = Counter(call(hub, f"{PREFIX}/hello").status_code for _ in range(CALLS + 5))
    assert statuses == {200: CALLS, 429: 5}


def test_a_stranger_who_calls_too_often_is_told_when_to_come_back(hub: Any) -> None:
    exhaust(hub)
    for path in (f"{PREFIX}/hello", f"{PREFIX}/credits/export", "/openapi.json", "/nothing/here"):
        reply = call(hub, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "overloaded")
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert "valid key" in reply.json()["error"]["hint"]


def test_a_valid_key_from_the_same_address_feels_nothing(hub: Any) -> None:
    member = hub.member()
    exhaust(hub)
    for _ in range(CALLS + 5):
        assert member.heartbeat() == {"leases": []}
    client = PoolClient(hub.url, hub.keys.admin, version="0.1.0")
    assert client.hello().service == "commonweal"
    assert list(client.export())
    client.close()
    assert hub.member("new").lease(wait=0) is None, "and a join token may register"


def test_an_address_is_refused_for_itself_alone(hub: Any) -> None:
    """The server that proxies the call is on loopback, and so believed when it says for whom."""
    exhaust(hub)
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}
    assert call(hub, f"{PREFIX}/hello", **elsewhere).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"{PREFIX}/jobs"), ("POST", f"{PREFIX}/lease"), ("POST", f"{PREFIX}/members")],
)
def test_wrong_keys_weigh_more(hub: Any, method: str, path: str) -> None:
    body = {
        "roles": ["train"],
        "kinds": [],
        "free_memory": 0,
        "request_id": "request-1",
        "name": "a",
        "client_version": "9",
    }
    answers = [
        httpx.request(
            method, hub.url + path, headers={"Authorization": f"Bearer cwmember-{i}"}, json=body
        ).status_code
        for i in range(7)
    ]
    assert answers == [401] * 5 + [429] * 2
    assert hub.admin.get("/jobs").status_code == 200


def test_a_revoked_key_is_a_wrong_one(hub: Any) -> None:
    made = hub.admin.post("/keys", json={"role": "user", "label": "ada"}).json()
    assert [call(hub, f"{PREFIX}/jobs", made["key"]).status_code for _ in range(CALLS)] == [200] * CALLS
    hub.admin.post("/keys/revoke", json={"account": made["account"]})
    assert [call(hub, f"{PREFIX}/jobs", made["key"]).status_code for _ in range(6)] == [401] * 5 + [429]


def test_a_key_that_may_not_do_this_is_a_valid_one(hub: Any) -> None:
    answers = [call(hub, f"{PREFIX}/jobs", hub.keys.join).status_code for _ in range(CALLS)]
    assert answers == [401] * CALLS


@pytest.mark.parametrize("key", [None, "cwmember-wrong"])
def test_the_books_are_public_but_not_for_ever_anew(start_hub: Callable[..., Any], key: str | None) -> None:
    hub = start_hub(strangers_a_minute=3 * EXPORT)
    answers = [call(hub, f"{PREFIX}/credits/export", key).status_code for _ in range(5)]
    assert answers == [200] * 3 + [429] * 2
    assert call(hub, f"{PREFIX}/credits/export", hub.keys.join).status_code == 200


def test_whoever_changes_addresses_within_a_network_is_one() -> None:
    strangers = Strangers(2)
    strangers.count("2001:db8:1:2::1")
    strangers.count("2001:db8:1:2:ffff::2")
    with pytest.raises(Overloaded) as caught:
        strangers.count("2001:db8:1:2::3")
    assert 1 <= caught.value.retry_after <= 60
    strangers.count("2001:db8:1:3::1")
    strangers.count("unknown")
