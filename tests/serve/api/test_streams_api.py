"""Streams on a real socket: clients that leave, that read slowly, and answers that take their time."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from api_world import Gate, World, eventually

from commonweal.core.completion import CompletionFailed
from commonweal.core.streaming import Event, Piece
from commonweal.serve.desk import Ask

OPTIONS = {"patience_seconds": 0.05, "keep_alive_seconds": 0.05}
PATHS = {
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"model": "tiny", "prompt": "x"},
    "/v1/responses": {"model": "tiny", "input": "x"},
}


def raw_request(path: str, body: Any, **headers: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Authorization: Bearer key-ann",
        f"Content-Length: {len(content)}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def connected(world: World, buffer: int | None = None) -> socket.socket:
    raw = socket.socket()
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    raw.settimeout(10)
    raw.connect(("127.0.0.1", int(world.url.rsplit(":", 1)[1])))
    return raw


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("before", [0, 2])
def test_a_client_that_leaves_a_stream_ends_the_work(world: World, path: str, before: int) -> None:
    world.desk.script = Gate(before=before).script
    with connected(world) as raw:
        raw.sendall(raw_request(path, PATHS[path] | {"stream": True}))
        eventually(lambda: world.desk.pulled == before and world.desk.open == 1)
        if before:
            raw.recv(100)
    eventually(lambda: world.desk.open == 0)
    assert world.desk.cut == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_leaves_a_whole_answer_ends_the_work(world: World, path: str) -> None:
    world.desk.script = Gate(before=1).script
    with connected(world) as raw:
        raw.sendall(raw_request(path, PATHS[path]))
        eventually(lambda: world.desk.open == 1)
    eventually(lambda: world.desk.open == 0)
    assert world.desk.cut == 1


def test_a_client_that_leaves_many_prompts_ends_all(world: World) -> None:
    world.desk.script = Gate(before=1).script
    with connected(world) as raw:
        raw.sendall(raw_request("/v1/completions", {"model": "tiny", "prompt": ["x"] * 40, "stream": True}))
        eventually(lambda: world.desk.open == 32)
    eventually(lambda: world.desk.open == 0)
    assert len(world.desk.asks) == 32


def test_the_clients_own_close_ends_the_work(world: World) -> None:
    world.desk.script = Gate(before=2).script
    with world.client() as client:
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "x"}], stream=True
        )
        assert next(stream).choices[0].delta.content == "Four"
        stream.close()
    eventually(lambda: world.desk.open == 0)


def test_while_nothing_comes_a_comment_says_so(world: World) -> None:
    gate = Gate()
    world.desk.script = gate.script
    body = PATHS["/v1/chat/completions"] | {"stream": True}
    with world.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = reply.iter_lines()
        comments = [next(lines) for _ in range(6)]
        assert comments == [": keep-alive", ""] * 3
        gate.opened.set()
        rest = [line for line in lines if line.startswith("data: ")]
    assert reply.status_code == 200
    assert rest[-1] == "data: [DONE]"
    assert len(rest) == 10


def test_the_client_is_not_disturbed_by_comments(world: World) -> None:
    gate = Gate(before=1)
    world.desk.script = gate.script
    chunks = world.client().chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "x"}], stream=True
    )
    assert next(chunks).choices[0].delta.content == "Four"
    gate.opened.set()
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Four legs good, two legs bad."
    )


def test_an_error_after_a_comment_is_an_event(world: World) -> None:
    gate = Gate()

    async def late(ask: Ask) -> AsyncIterator[Event]:
        async for _ in gate.script(ask):
            raise CompletionFailed("too_long", "too many tokens")
        yield Piece()

    world.desk.script = late
    body = PATHS["/v1/chat/completions"] | {"stream": True}
    with world.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = reply.iter_lines()
        assert next(lines) == ": keep-alive"
        gate.opened.set()
        *_, error, done = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert json.loads(error)["error"]["code"] == "context_length_exceeded"
    assert done == "[DONE]"


def test_a_slow_reader_holds_up_its_own_answer_only(world: World) -> None:
    """Nothing is pulled that the reader does not take, but for what fits into the buffers between."""

    async def endless(ask: Ask) -> AsyncIterator[Event]:
        while True:
            yield Piece(text="x" * 10_000)

    world.desk.script = endless
    with connected(world, buffer=4096) as raw:
        raw.sendall(raw_request("/v1/chat/completions", PATHS["/v1/chat/completions"] | {"stream": True}))
        seen: list[int] = []

        def stands_still() -> bool:
            seen.append(world.desk.pulled)
            other = httpx.get(f"{world.url}/v1/models", headers={"Authorization": "Bearer key-bob"})
            assert other.status_code == 200
            return len(seen) > 20 and seen[-1] > 0 and len(set(seen[-20:])) == 1

        eventually(stands_still, seconds=20)
        assert seen[-1] < 1500, "15 MB are more than the buffers of two sockets"
        assert raw.recv(15) == b"HTTP/1.1 200 OK"
    eventually(lambda: world.desk.open == 0)


def test_a_connection_serves_one_request_after_another(world: World) -> None:
    with world.http() as http:
        for stream in (True, False, True, False):
            reply = http.post("/v1/chat/completions", json=PATHS["/v1/chat/completions"] | {"stream": stream})
            assert reply.status_code == 200
    assert world.desk.open == world.desk.cut == 0
