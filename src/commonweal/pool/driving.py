"""What drives the foreman: every running job at each tick, and in between those that something happened to.

What happens to a job is only noted here. However many notices of it come while a step of it is under way, or
within the moment in which results are gathered, they are one more look at it: a burst costs two, the first at once.
A look that begins after the last notice is never missed. One thread decides, a few others step, each job in one of
them at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from commonweal.core.clock import Clock
from commonweal.core.errors import Unavailable

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
_AT_ONCE = 4
_PAUSE_SECONDS = 1.0  # after a failure: the database is away, or there is a mistake that must not spin


class Steps(Protocol):
    """What is driven: :class:`commonweal.pool.foreman.Foreman`."""

    def keep_leases(self, now: float) -> None: ...

    def running(self) -> list[str]: ...

    def step(self, job_id: str, now: float) -> bool: ...


class Driver:
    """``tick_seconds``: how often all is looked at when nothing is noticed."""

    def __init__(self, foreman: Steps, clock: Clock, *, tick_seconds: float) -> None:
        self._foreman, self._clock, self._tick_seconds = foreman, clock, tick_seconds
        self._changed: set[str] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()

    def happened(self, job: str) -> None:
        """Note that something happened to ``job``. From any thread; returns at once."""
        self._changed.add(job)
        self._wake.set()

    def stop(self) -> None:
        """End :meth:`run` after the steps under way."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Drive until told to stop."""
        under_way: dict[str, Future[None]] = {}
        next_tick = 0.0
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="fold") as pool:
            while not self._stop.is_set():
                try:
                    if time.monotonic() >= next_tick:
                        next_tick = time.monotonic() + self._tick_seconds
                        self._foreman.keep_leases(self._clock.now())
                        self._changed.update(self._foreman.running())
                    for job in list(self._changed):
                        if job not in under_way or under_way[job].done():
                            under_way[job] = self._begin(pool, job)
                except Exception as error:  # this thread must outlive whatever happens to it
                    self._pause(error)
                under_way = {job: step for job, step in under_way.items() if not step.done()}
                self._stop.wait(GATHER_SECONDS)
                self._wake.wait(max(0.0, next_tick - time.monotonic()))
                self._wake.clear()

    def _begin(self, pool: ThreadPoolExecutor, job: str) -> Future[None]:
        self._changed.discard(job)
        step = pool.submit(self._step, job)
        # Only once it counts as done may the loop be woken for what was noted meanwhile: it would not step it before.
        step.add_done_callback(lambda _: self._wake.set() if job in self._changed else None)
        return step

    def _step(self, job: str) -> None:
        try:
            if self._foreman.step(job, self._clock.now()):
                self._changed.add(job)  # and perhaps there is more to do
        except Exception as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        if isinstance(error, Unavailable):
            log.warning("foreman.waits error=%s", error.message)
        else:
            log.error("foreman.failed", exc_info=error)
        self._stop.wait(_PAUSE_SECONDS)
