"""A job or a batch that is asked for again, because the answer was lost, is made once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from job_api import Api, add_model, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database

CHAT = "/v1/chat/completions"


@pytest.fixture
def api(database: Database, blobs: Blobs) -> Iterator[Api]:
    add_model(database, blobs)
    with running_api(database, blobs) as running:
        yield running


def batch_body(api: Api) -> dict[str, Any]:
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "tiny", "messages": []}}
    file = api.client().files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    return {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}


def post(api: Api, body: dict[str, Any], **headers: str) -> httpx.Response:
    asked = {"Authorization": f"Bearer {api.client().api_key}"}
    asked.update({name.replace("_", "-"): value for name, value in headers.items()})
    return httpx.post(f"{api.url}/v1/batches", json=body, headers=asked, timeout=30)


def batches(api: Api) -> int:
    return len(list(api.client().batches.list()))


def test_a_retry_is_told_what_the_first_made(api: Api) -> None:
    body = batch_body(api)
    first = post(api, body, x_stainless_retry_count="0")
    again = post(api, body, x_stainless_retry_count="1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["x-commonweal-replayed"] == "true"
    assert batches(api) == 1
    assert post(api, body, x_stainless_retry_count="0").json()["id"] != first.json()["id"], "on purpose"
    assert batches(api) == 2


def test_a_name_makes_one(api: Api) -> None:
    body = batch_body(api)
    first, again = (post(api, body, idempotency_key="mine") for _ in range(2))
    assert again.json()["id"] == first.json()["id"]
    other = post(api, body | {"metadata": {"a": "b"}}, idempotency_key="mine")
    assert other.status_code == 409
    assert "Idempotency-Key" in other.json()["error"]["message"]
    assert batches(api) == 1


def test_who_hung_up_finds_it_made(api: Api) -> None:
    """The connection breaks as soon as the request is sent; the retry is told the id."""
    body = json.dumps(batch_body(api)).encode()
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.client().api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nx-stainless-retry-count: 0\r\n\r\n"
    )
    address = httpx.URL(api.url)
    with socket.create_connection((address.host, address.port or 80)) as broken:
        broken.sendall(head.encode() + body)
    asked = {
        "Authorization": f"Bearer {api.client().api_key}",
        "Content-Type": "application/json",
        "x-stainless-retry-count": "1",
    }
    again = httpx.post(f"{api.url}/v1/batches", content=body, headers=asked, timeout=30)
    assert again.status_code == 200
    assert batches(api) == 1


def test_what_was_refused_may_be_asked_again(api: Api) -> None:
    body = batch_body(api)
    wrong = body | {"input_file_id": "file_none"}
    assert post(api, wrong, x_stainless_retry_count="0").status_code == 404
    assert post(api, wrong, x_stainless_retry_count="1").status_code == 404
    assert post(api, body, x_stainless_retry_count="0").status_code == 200
    assert batches(api) == 1
