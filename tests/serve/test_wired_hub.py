"""A whole hub: the pool's keys and members, the API, a member's connection, the books and the pages, wired together."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from commonweal.app import FirstKeys, HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.member import ServeSettings, ServingMember
from served_app import serving


@dataclass(frozen=True, slots=True)
class Whole:
    url: str
    keys: FirstKeys
    blobs: Blobs
    folder: Path

    def http(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def openai(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=5)

    def registered(self, key: str) -> dict[str, Any]:
        """A machine that the account of ``key`` brings."""
        body = {
            "name": "pc",
            "client_version": "0.1.0",
            "roles": ["serve"],
            "request_id": f"register-{key[-6:]}",
        }
        with self.http(key) as client:
            reply = client.post("/pool/v1/members", json=body)
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    @contextmanager
    def member(self, key: str) -> Iterator[None]:
        """A machine that serves, from when the hub knows it."""
        settings = ServeSettings(
            url=self.url, key=key, folder=self.folder / key[-6:], memory=2**30, grace=1.0
        )
        there = threading.Event()
        told = lambda event: there.set() if event.what == "connected" else None  # noqa: E731
        member = ServingMember(settings, MockEngine(length=6), self.blobs.get, told=told)
        member.start()
        try:
            assert there.wait(20)
            yield
        finally:
            member.stop()

    def publish(self, name: str) -> None:
        header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        files = {
            "config.json": self.blobs.put(b'{"max_position_embeddings": 256}'),
            "model.safetensors": self.blobs.put(struct.pack("<Q", len(header)) + header + bytes(8)),
        }
        with self.http(self.keys.admin) as client:
            reply = client.post("/serve/v1/models", json={"name": name, "files": files})
        assert reply.status_code == 201, reply.text


@pytest.fixture
def whole(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Whole]:
    settings = HubSettings(folder=tmp_path, tick_seconds=0.1)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    with serving(build(database, blobs, {}, settings)) as url:
        yield Whole(url, keys, blobs, tmp_path)


def user_key(whole: Whole) -> str:
    with whole.http(whole.keys.admin) as client:
        return str(client.post("/pool/v1/keys", json={"role": "user", "label": "ada"}).json()["key"])


def test_a_chat_goes_through_a_member_and_is_paid(whole: Whole) -> None:
    whole.publish("tiny")
    lender, user = whole.registered(whole.keys.join), user_key(whole)
    with whole.http(whole.keys.admin) as client:
        grant = {"account": "user:ada", "microcredits": 10**9, "request_id": "grant-ada-1"}
        assert client.post("/pool/v1/credits/grant", json=grant).is_success
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
    user = user_key(whole)
    with whole.member(whole.registered(user)["key"]):
        with whole.openai(user) as asked:
            answer = asked.completions.create(model="tiny", prompt="hi", max_tokens=3)
        assert answer.choices[0].text
        with whole.http(whole.keys.admin) as client:
            history = client.get("/pool/v1/credits/history", params={"account": "user:ada"}).json()
        assert history == []


def test_without_credits_and_machines_an_account_hears_that_first(whole: Whole) -> None:
    whole.publish("tiny")
    with whole.openai(user_key(whole)) as asked, pytest.raises(openai.RateLimitError) as refused:
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
