"""Answers obey the machine's limit on uploads, also while contributions use it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, cast

from commonweal.core.clock import SystemClock
from commonweal.pool.worker.throttle import TokenBucket
from commonweal.serve.worker.member import _Wire


class Socket:
    def __init__(self) -> None:
        self.sent = 0

    async def send(self, data: bytes) -> None:
        self.sent += len(data)


def seconds_for(bucket: TokenBucket, frames: int) -> float:
    """How long it takes to send so many frames of 1,000 bytes."""

    async def send() -> None:
        wire = _Wire(cast(Any, socket), bucket.reserve)
        for _ in range(frames):
            await wire.send(bytes(1000))

    socket, began = Socket(), time.monotonic()
    asyncio.run(send())
    assert socket.sent == 1000 * frames
    return time.monotonic() - began


def test_answers_are_no_faster_than_the_limit() -> None:
    assert seconds_for(TokenBucket(20_000, SystemClock()), 15) >= (15_000 - 5_000) / 20_000 - 0.01


def test_answers_and_contributions_together_are_no_faster() -> None:
    bucket, began = TokenBucket(20_000, SystemClock()), time.monotonic()

    def contribute() -> None:
        for _ in range(10):
            bucket.take(1000, threading.Event())

    other = threading.Thread(target=contribute)
    other.start()
    seconds_for(bucket, 10)
    other.join()
    assert time.monotonic() - began >= (20_000 - 5_000) / 20_000 - 0.01


def test_without_a_limit_nothing_waits() -> None:
    assert TokenBucket(None, SystemClock()).reserve(10**12) == 0.0
