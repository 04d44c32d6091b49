"""The loop that drives the foreman: notices are gathered, none is lost, and no failure ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from commonweal.core.clock import SystemClock
from commonweal.core.errors import Unavailable
from commonweal.pool.driving import GATHER_SECONDS, Driver

NEVER = 3600.0
QUIET_SECONDS = 6 * GATHER_SECONDS


class Looks:
    """A foreman that only counts how often it is asked to look at a job."""

    def __init__(self, during: Callable[[int], bool] = lambda number: False, failing_ticks: int = 0) -> None:
        self._during, self._failing_ticks = during, failing_ticks
        self._ticked = threading.Event()
        self._changed = threading.Condition()
        self.begun = 0
        self.kept = 0

    def keep_leases(self, now: float) -> None:
        self.kept += 1
        self._ticked.set()
        if self.kept <= self._failing_ticks:
            raise Unavailable("the database is away")

    def running(self) -> list[str]:
        return []

    def step(self, job_id: str, now: float) -> bool:
        with self._changed:
            self.begun += 1
            number = self.begun
            self._changed.notify_all()
        return self._during(number)

    def wait_for_tick(self) -> None:
        assert self._ticked.wait(20)

    def wait_for(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun >= number, timeout=20)

    def further(self) -> int:
        """How many looks there were when none has begun for a while."""
        with self._changed:
            while True:
                seen = self.begun
                if not self._changed.wait_for(lambda seen=seen: self.begun > seen, timeout=QUIET_SECONDS):
                    return seen


@contextmanager
def driven(looks: Looks, *, tick_seconds: float = NEVER) -> Iterator[Driver]:
    driver = Driver(looks, SystemClock(), tick_seconds=tick_seconds)
    thread = threading.Thread(target=driver.run)
    thread.start()
    try:
        yield driver
    finally:
        driver.stop()
        thread.join(20)
    assert not thread.is_alive()


def test_notices_that_come_together_are_looked_at_together() -> None:
    """However many there are, there is a look at first and then one for each moment of gathering."""
    looks, pacing = Looks(), threading.Event()
    with driven(looks) as driver:
        looks.wait_for_tick()
        begun = time.monotonic()
        for _ in range(200):
            driver.happened("job")
            pacing.wait(0.001)
        moments = (time.monotonic() - begun) / GATHER_SECONDS
        assert 1 <= looks.further() <= moments + 2
        seen = looks.begun
        driver.happened("job")
        looks.wait_for(seen + 1)


def test_notices_during_a_look_are_one_more_and_it_comes_at_once() -> None:
    """Not at the next tick, which is an hour away here."""
    noted = threading.Event()
    looks = Looks(lambda number: number == 1 and not noted.wait(20))
    with driven(looks) as driver:
        driver.happened("job")
        looks.wait_for(1)
        for _ in range(200):
            driver.happened("job")
        assert looks.further() == 1, "a job is looked at by one at a time"
        noted.set()
        looks.wait_for(2)
        assert looks.further() == 2


def test_where_something_was_done_there_may_be_more_to_do() -> None:
    looks = Looks(lambda number: number < 5)
    with driven(looks) as driver:
        driver.happened("job")
        looks.wait_for(5)
        assert looks.further() == 5


def test_jobs_do_not_wait_for_each_other() -> None:
    together = threading.Barrier(3)
    looks = Looks(lambda number: together.wait(20) < 0)
    with driven(looks) as driver:
        for job in ("a", "b"):
            driver.happened(job)
        together.wait(20)


def test_failures_do_not_end_it() -> None:
    def fail(number: int) -> bool:
        raise ValueError("a mistake")

    looks = Looks(fail, failing_ticks=1)
    with driven(looks, tick_seconds=0.01) as driver:
        for number in range(1, 3):
            driver.happened("job")
            looks.wait_for(number)
    assert looks.kept > 1, "the first tick failed"
