"""Server-Sent Events: the news of a page as a stream of text, told so that a reader can go on after a break.

``parts`` has the HTML of the parts that changed since the last event of this stream, by name. ``points`` has new points
of a job's curve; its id is the number of the last one, so that a browser that reconnects says where it stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from commonweal.train.curve import Point
from commonweal.web.pool.newsroom import News

RETRY_MILLISECONDS = 2000
SILENCE_SECONDS = 15.0
"""A proxy takes a connection that says nothing for dead; a comment keeps it."""

FIELDS = ("number", "step", "tokens", "loss", "held_out", "accepted", "missing", "refused")
"""What a point is told with, in this order."""


def event(name: str, data: Any, number: int | None = None) -> str:
    """One event. JSON has no bare line ends, so its data is one line.

    >>> event("points", [1], 7)
    'event: points\\nid: 7\\ndata: [1]\\n\\n'
    """
    told = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{told}data: {json.dumps(data, separators=(',', ':'))}\n\n"


def points_event(points: Sequence[Point]) -> str:
    rows = [[getattr(point, name) for name in FIELDS] for point in points]
    return event("points", rows, points[-1].number)


async def stream(news: AsyncIterator[News | None], after: int) -> AsyncIterator[str]:
    """The text of a stream; ``after`` is the number of the last point that the reader has, -1 for none."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    told: dict[str, str] = {}
    async for found in news:
        if found is None:
            yield ": nothing new\n\n"
            continue
        changed = {name: html for name, html in found.parts.items() if told.get(name) != html}
        if changed:
            told |= changed
            yield event("parts", changed)
        new = [point for point in found.points if point.number > after]
        if new:
            after = new[-1].number
            yield points_event(new)


class EventStream(StreamingResponse):
    """An answer without an end. It ends in order when the server stops: a reader comes back by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
