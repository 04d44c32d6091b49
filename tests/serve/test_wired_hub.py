"""A whole hub: the pool's keys and members, the API, a member's connection, the books and the pages, wired together."""

from __future__ import annotations

import httpx
import openai
import pytest
from whole_hub import Whole


def test_a_chat_goes_through_a_member_and_is_paid(whole: Whole) -> None:
    whole.publish("tiny")
    lender, user = whole.registered(whole.keys.join), whole.user(microcredits=10**9)
    with whole.member(lender["key"]):
        with whole.openai(user) as asked:
            answer = asked.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6
        with whole.http(whole.keys.admin) as client:
            live = client.get("/serve/v1/live").json()
            assert [worker["member"] for worker in live["workers"]] == [lender["member"]]
        with whole.http(user) as client:
            assert client.get("/serve/v1/live").status_code == 401


def test_ones_own_machine_serves_without_credits(whole: Whole) -> None:
    whole.publish("tiny")
    user = whole.user()
    with whole.member(whole.registered(user)["key"]):
        with whole.openai(user) as asked:
            answer = asked.completions.create(model="tiny", prompt="hi", max_tokens=3)
        assert answer.choices[0].text
        with whole.http(whole.keys.admin) as client:
            history = client.get("/pool/v1/credits/history", params={"account": "user:ada"}).json()
        assert history == []


def test_without_credits_and_machines_an_account_hears_that_first(whole: Whole) -> None:
    whole.publish("tiny")
    with whole.openai(whole.user()) as asked, pytest.raises(openai.RateLimitError) as refused:
        asked.completions.create(model="tiny", prompt="hi", max_tokens=3)
    assert refused.value.code == "insufficient_quota"


def test_the_chat_page_allows_no_foreign_script(whole: Whole) -> None:
    reply = httpx.get(f"{whole.url}/chat")
    assert reply.status_code == 200
    assert "script-src 'self'" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models/none", "/serve/v1/models"])
def test_without_a_key_nothing_is_told(whole: Whole, path: str) -> None:
    reply = httpx.get(whole.url + path)
    assert reply.status_code in (401, 404)
    assert set(reply.json()["error"]) >= {"message", "type", "param", "code"}
