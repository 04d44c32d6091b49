"""A small OpenAI-compatible server on loopback that can be told to misbehave. Runs in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(kw_only=True)
class Reply:
    """What to send. ``raw`` is sent as it is, in these pieces, instead of everything else; ``hold`` sends nothing
    until the server is closed, ``hang_up`` ends the connection afterwards."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: list[bytes] | None = None
    hold: bool = False
    hang_up: bool = False


Handler = Callable[[Seen], Reply]


class FakeOpenAI:
    """``script`` replies come first, in turn; then ``handler``'s (default: :func:`answer`)."""

    def __init__(self, *script: Reply, handler: Handler | None = None) -> None:
        self.script = list(script)
        self.handler = handler or answer
        self.seen: list[Seen] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self.active = 0
        self.most_active = 0
        self._closing = asyncio.Event()

    async def __aenter__(self) -> FakeOpenAI:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closing.set()
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (seen := await _read(reader)) is not None:
                self.seen.append(seen)
                self.asked.set()
                self.active += 1
                self.most_active = max(self.active, self.most_active)
                reply = self.script.pop(0) if self.script else self.handler(seen)
                if reply.hold:
                    await self._closing.wait()
                    return
                await _write(writer, reply)
                self.active -= 1
                if reply.hang_up:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Seen(method=method, path=path, headers=headers, body=json.loads(body) if body else {})


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    if reply.raw is None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body))} | reply.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        pieces = [f"HTTP/1.1 {reply.status} Any\r\n{lines}\r\n".encode() + body]
    else:
        pieces = reply.raw
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.001)


def stream(*events: Any, done: bool = True) -> Reply:
    """A streamed reply, chunked, one event a piece."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events] + ["[DONE]"] * done
    pieces = [f"data: {text}\n\n".encode() for text in texts]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return Reply(raw=[head, *[b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces], b"0\r\n\r\n"])


def failing(status: int, message: str = "no", code: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body={"error": {"message": message, "code": code or None}}, headers=named)


def completion(
    text: str = " blue", *, model: str = "tiny", logprobs: Any = None, finish: str = "stop"
) -> dict[str, Any]:
    return {
        "object": "text_completion",
        "model": model,
        "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }


def chat(
    text: str | None = "Hello!", *, model: str = "tiny", finish: str | None = "stop", **message: Any
) -> dict[str, Any]:
    content = {"role": "assistant", "content": text, **message}
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": content, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }


def echoed(text: str, extra: int = 0, begin: str = "") -> dict[str, Any]:
    """A scored prompt: a token is a word with the space before it, its log-probability minus its number."""
    words = re.findall(r"\s*\S+|\s+\Z", text)
    tokens = [*([begin] if begin else []), *words, *[" more"] * extra]
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    numbers = [None, *[-float(i) for i in range(1, len(tokens))]]
    made = completion(text + " more" * extra)
    made["choices"][0]["logprobs"] = {
        "tokens": tokens,
        "token_logprobs": numbers,
        "top_logprobs": [None, *[{token: -float(i)} for i, token in enumerate(tokens) if i]],
        "text_offset": offsets,
    }
    made["usage"] = {"prompt_tokens": len(tokens) - extra, "completion_tokens": extra}
    return made


def answer(seen: Seen) -> Reply:
    """What a good server answers."""
    body = seen.body
    if seen.path == "/v1/models":
        return Reply(body={"data": [{"id": "tiny", "max_model_len": 512}]})
    if seen.path == "/v1/completions":
        if body.get("echo"):
            return Reply(body=echoed(body["prompt"], extra=body["max_tokens"]))
        if body.get("logprobs") is not None:
            tokens = {"tokens": [" blue"], "token_logprobs": [-0.5], "top_logprobs": [{" blue": -0.5}]}
            return Reply(body=completion(logprobs=tokens))
        return Reply(body=completion())
    if seen.path == "/v1/chat/completions":
        made = chat()
        if body.get("logprobs"):
            made["choices"][0]["logprobs"] = {"content": [{"token": "Hello!", "logprob": -0.25}]}
        return Reply(body=made)
    return Reply(status=404, body={"detail": "Not Found"})
