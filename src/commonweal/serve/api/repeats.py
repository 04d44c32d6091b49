"""A request that is sent again is answered once.

The openai client repeats a POST that it got no answer to, with an equal body and no idempotency key; what it does say
is ``x-stainless-retry-count``. So only what calls itself a repeat can be one (two equal requests on purpose are two),
and it is matched with an earlier, equal request of the same account and path:

1. whose client went away: it is joined while it runs (for that it is kept running ``linger_seconds``), else replayed;
2. if an earlier one was answered with an error, the repeat is explained by that, and is a new request;
3. one that still runs (its connection broke without a word), or was answered within ``keep_seconds`` (the answer got
   lost on its way) is joined or replayed.

With an ``Idempotency-Key`` there is no doubt: the same key is the same request, and another body under it is refused.
Only whole answers are joined. A stream ends with its client. Each hub process remembers for itself, in bounded memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from fastapi.responses import Response

from commonweal.core.errors import Conflict

Client = Literal["waiting", "gone", "answered"]

_MOST = 20_000
_ENTRY_BYTES = 1_000  # what an answer costs beside its body
_READ_BY = "x-commonweal-read-by"


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Kept(NamedTuple):
    """What is kept of an answer: nothing that the garbage collector has to look into, since there are many."""

    body: bytes
    status: int
    read_by: str


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One request under way or just answered. ``client`` is what is known of who asked it last; ``finishes``: it is
    not given up when nobody waits for it."""

    body: bytes
    finishes: bool = False
    task: asyncio.Task[Response] | None = None
    answer: Kept | None = None
    client: Client = "waiting"
    waiting: int = 0
    until: float = float("inf")

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What is known under one key: attempts, the newest last, and how many errors were told and not yet repeated."""

    attempts: list[Attempt] = field(default_factory=list)
    explained: int = 0


def digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def claimed(attempts: list[Attempt], explained: int) -> Attempt | Literal["explained"] | None:
    """Which attempt a repeat repeats: see this module's docstring. ``explained`` if it was one that failed."""
    newest = attempts[::-1]
    lost = [attempt for attempt in newest if attempt.client == "gone"]
    if lost:
        return lost[0]
    if explained:
        return "explained"
    running = [attempt for attempt in newest if attempt.running]
    return next(iter(running or newest), None)


def _again(kept: Kept) -> Response:
    return Response(kept.body, kept.status, {_READ_BY: kept.read_by}, media_type="application/json")


class Repeats:
    """The attempts of one hub process. Used from one event loop."""

    def __init__(
        self,
        *,
        keep_seconds: float,
        keep_bytes: int,
        linger_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._linger_seconds = linger_seconds
        self._now = now
        self._asked: dict[object, _Asked] = {}
        self._kept: deque[tuple[float, object, Attempt | None]] = deque()
        self._bytes = 0

    def earlier(self, key: object, body: bytes, *, named: bool) -> Attempt | None:
        """The attempt that a repeat is answered by, if any. Raises Conflict for a name of another body."""
        self._forget_old()
        asked = self._asked.get(key)
        if asked is None:
            return None
        if named:
            if asked.attempts and asked.attempts[-1].body != body:
                raise Conflict(
                    "this Idempotency-Key was sent with another body", hint="a new request takes a new key"
                )
            return asked.attempts[-1] if asked.attempts else None
        found = claimed(asked.attempts, asked.explained)
        if found == "explained":
            asked.explained -= 1
            return None
        assert not isinstance(found, str)
        return found

    def begin(
        self, key: object, body: bytes, work: Coroutine[Any, Any, Response], *, finishes: bool = False
    ) -> Attempt:
        """A new request, at work in a task of its own."""
        attempt = Attempt(body=body, task=asyncio.create_task(work), finishes=finishes)
        self._asked.setdefault(key, _Asked()).attempts.append(attempt)
        return attempt

    def failed(self, key: object) -> None:
        """An error is told to the client, which may repeat its request for that reason."""
        asked = self._asked.setdefault(key, _Asked())
        asked.explained += 1
        self._kept.append((self._now() + self._keep_seconds, key, None))
        self._bytes += _ENTRY_BYTES

    async def answered(
        self, key: object, attempt: Attempt, gone: asyncio.Task[None], *, repeats: bool
    ) -> Response:
        """The attempt's answer, for one of those that wait for it. Raises what it raised, and ClientGone if the client
        leaves first; the last to leave ends the work, after a while if the client ``repeats``."""
        if attempt.answer is not None:
            attempt.client = "answered"
            return _again(attempt.answer)
        task = attempt.task
        assert task is not None
        attempt.client = "waiting"
        attempt.waiting += 1
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            attempt.waiting -= 1
            if not task.done() and not attempt.waiting:
                attempt.client = "gone"
                wait = self._linger_seconds if repeats else 0.0
                asyncio.get_running_loop().call_later(wait, self._end, key, attempt)
        if not task.done():
            raise ClientGone
        if task.cancelled() or task.exception() is not None:
            self._drop(key, attempt)
            if task.cancelled():
                raise ClientGone
            return task.result()
        if repeats:
            self._keep(key, attempt, task.result(), "gone" if gone.done() else "answered")
        else:
            self._drop(key, attempt)
        return task.result()

    def _end(self, key: object, attempt: Attempt) -> None:
        """Nobody came back for it: stop the work, or keep what came of it."""
        task = attempt.task
        if task is None or attempt.waiting:
            return
        if not task.done():
            if attempt.finishes:
                task.add_done_callback(lambda _: self._end(key, attempt))
                return
            task.cancel()
            self._drop(key, attempt)
        elif task.cancelled() or task.exception() is not None:
            self._drop(key, attempt)
        else:
            self._keep(key, attempt, task.result(), "gone")

    def _keep(self, key: object, attempt: Attempt, answer: Response, client: Client) -> None:
        attempt.client = client
        if attempt.answer is not None:
            return
        attempt.answer = Kept(bytes(answer.body), answer.status_code, answer.headers.get(_READ_BY, ""))
        attempt.task = None
        attempt.until = self._now() + self._keep_seconds
        self._kept.append((attempt.until, key, attempt))
        self._bytes += _ENTRY_BYTES + len(answer.body)
        self._forget_old()

    def _forget_old(self) -> None:
        now = self._now()
        while self._kept and (
            self._kept[0][0] <= now or self._bytes > self._keep_bytes or len(self._kept) > _MOST
        ):
            _, key, attempt = self._kept.popleft()
            self._bytes -= _ENTRY_BYTES
            if attempt is not None and attempt.answer is not None:
                self._bytes -= len(attempt.answer.body)
                self._drop(key, attempt)
            elif (asked := self._asked.get(key)) is not None:
                asked.explained = max(0, asked.explained - 1)
                self._tidy(key, asked)

    def _drop(self, key: object, attempt: Attempt) -> None:
        asked = self._asked.get(key)
        if asked is not None:
            if attempt in asked.attempts:
                asked.attempts.remove(attempt)
            self._tidy(key, asked)

    def _tidy(self, key: object, asked: _Asked) -> None:
        if not asked.attempts and not asked.explained:
            self._asked.pop(key, None)
