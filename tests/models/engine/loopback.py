"""A server on loopback that answers what a test says, over real HTTP, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Said:
    """An answer: JSON, or the pieces of a stream as they are sent; ``hold`` keeps the connection open after them."""

    status: int = 200
    body: Any = None
    pieces: list[bytes] | None = None
    hold: bool = False


Handler = Callable[[str, dict[str, Any]], Said]


@dataclass
class Loopback:
    handler: Handler
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Loopback:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ", 2)[1]
            length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")), 0)  # fmt: skip  # noqa: E501
            body = json.loads(await reader.readexactly(length)) if length else {}
            self.seen.append((path, body))
            said = self.handler(path, body)
            raw = said.pieces if said.pieces is not None else [json.dumps(said.body).encode()]
            writer.write(f"HTTP/1.1 {said.status} X\r\nconnection: close\r\n\r\n".encode())
            for piece in raw:
                writer.write(piece)
                await writer.drain()
            if said.hold:
                await reader.read()
                self.gone.set()
        finally:
            writer.close()


def events(*values: Any, done: bool = True) -> list[bytes]:
    """Server-sent events, cut into odd pieces."""
    whole = b"".join(b"data: " + json.dumps(v, ensure_ascii=False).encode() + b"\n\n" for v in values)
    whole += b"data: [DONE]\n\n" if done else b""
    return [whole[at : at + 7] for at in range(0, len(whole), 7)]
