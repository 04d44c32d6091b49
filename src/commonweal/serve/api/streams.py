"""Server-sent events: frames are pulled as the client reads them, and no sooner.

An error before the first frame is a plain HTTP error; after it, an event with the error, then ``[DONE]``. A stream
without events says so in comments now and then (which, after ``patience`` seconds, begin it). A client that goes away
ends the frames at once: their iterator is closed, and with it the work behind it. A client that reads slowly makes
``send`` wait, so nothing piles up here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import orjson
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from commonweal.serve.api.complaints import Complaint, complaint

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_TURN = 16
"""Frames after which a stream lets others have their turn."""


def data_frame(value: Any) -> bytes:
    """An event without a name."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def named_frame(name: str, value: Any) -> bytes:
    """An event of the Responses API."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


def error_frames(told: Complaint) -> bytes:
    """How a stream that has begun says that it failed."""
    return data_frame(told.body()) + DONE


class EventStream(Response):
    """A response whose body is ``frames``. ``as_error`` makes the wire's words of what they raise; ``last_words`` are
    sent after an error, ``frames`` bring their own end otherwise."""

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        *,
        patience: float,
        keep_alive: float,
        headers: dict[str, str] | None = None,
        as_error: Callable[[Exception], Exception] = lambda error: error,
        last_words: Callable[[Complaint], bytes] = error_frames,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"} | (headers or {}))
        del self.headers["content-length"]
        self._frames = frames
        self._patience = patience
        self._keep_alive = keep_alive
        self._as_error = as_error
        self._last_words = last_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        out = _Out(send, self)
        main = asyncio.current_task()
        assert main is not None
        watcher = asyncio.create_task(_end_when_gone(receive, main, out))
        beat = asyncio.create_task(self._beat(out))
        try:
            try:
                await self._send_frames(out, scope, receive)
            finally:
                out.ended = True  # from here on nobody cancels this task
                await self._frames.aclose()
        except asyncio.CancelledError:
            if not out.gone:
                raise
            main.uncancel()
        finally:
            watcher.cancel()
            beat.cancel()

    async def _send_frames(self, out: _Out, scope: Scope, receive: Receive) -> None:
        try:
            async for frame in self._frames:
                await out.send(frame)
                if out.frames % _TURN == 0:  # where neither the model nor the client lets this task wait
                    await asyncio.sleep(0)
        except Exception as error:
            told = complaint(self._as_error(error))
            if not out.begun:
                await self._plainly(told, out, scope, receive)
                return
            await out.send(self._last_words(told))
        await out.send(b"", more=False)

    async def _plainly(self, told: Complaint, out: _Out, scope: Scope, receive: Receive) -> None:
        out.ended = True
        response = told.response()
        for name, value in self.headers.items():
            if name.startswith("x-"):
                response.headers[name] = value
        await response(scope, receive, out.raw)

    async def _beat(self, out: _Out) -> None:
        wait = self._patience
        while not out.ended:
            await asyncio.sleep(wait)
            wait = self._keep_alive
            if out.idle(wait):
                await out.send(KEEP_ALIVE)


class _Out:
    """The way to the client: begins the response with its first bytes."""

    def __init__(self, send: Send, response: Response) -> None:
        self.raw = send
        self.begun = False
        self.ended = False
        self.gone = False
        self.frames = 0
        self._response = response
        self._sending = False
        self._loop = asyncio.get_running_loop()
        self._sent = self._loop.time()

    def idle(self, seconds: float) -> bool:
        if self.ended or self._sending:
            return False
        return not self.begun or self._loop.time() - self._sent >= seconds * 0.99

    async def send(self, body: bytes, *, more: bool = True) -> None:
        self._sending = True
        self.frames += 1
        if not self.begun:
            self.begun = True
            await self.raw(
                {
                    "type": "http.response.start",
                    "status": self._response.status_code,
                    "headers": self._response.raw_headers,
                }
            )
        await self.raw({"type": "http.response.body", "body": body, "more_body": more})
        self._sending = False
        self._sent = self._loop.time()


async def _end_when_gone(receive: Receive, main: asyncio.Task[Any], out: _Out) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not out.ended:
        out.gone = True
        main.cancel()
