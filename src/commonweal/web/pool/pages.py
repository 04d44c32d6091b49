"""All live pages of the pool: which one a path means, made anew at most once a second, however many ask.

The pages are made of the database alone, so every hub process on it shows the same.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.web.pool import addresses, job, joblist, join, machine, machines, overview, rounds, yours
from commonweal.web.pool.history import Histories
from commonweal.web.pool.source import Source, Specs
from commonweal.web.site.page import Page

FRESH_SECONDS = 1.0
_KEPT = 256

_JOB, _MEMBER, _NUMBER = "(job_[0-9a-z]{1,40})", "(mem_[0-9a-z]{1,40})", "([1-9][0-9]{0,6})"

_WAYS: tuple[tuple[re.Pattern[str], Callable[..., Page]], ...] = (
    (re.compile(re.escape(addresses.OVERVIEW)), overview.page),
    (re.compile(re.escape(addresses.JOIN)), join.page),
    (re.compile(re.escape(addresses.YOURS)), yours.page),
    (re.compile(rf"pool/machines/(here|all)-{_NUMBER}\.html"), lambda s, w, n: machines.page(s, w, int(n))),
    (re.compile(rf"pool/machines/{_MEMBER}\.html"), machine.page),
    (re.compile(rf"pool/jobs/page-{_NUMBER}\.html"), lambda s, n: joblist.page(s, int(n))),
    (re.compile(rf"pool/jobs/{_JOB}\.html"), job.page),
    (re.compile(rf"pool/jobs/{_JOB}/rounds-{_NUMBER}\.html"), lambda s, j, n: rounds.page(s, j, int(n))),
)


class PoolPages:
    """The pages as they are now. Safe to be used by several threads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._histories, self._specs = Histories(), Specs()
        self._made: OrderedDict[str, tuple[float, Page]] = OrderedDict()
        self._lock = Lock()

    def page(self, path: str) -> Page:
        """Raises NotFound."""
        now = self._clock.now()
        with self._lock:
            made = self._made.get(path)
        if made is not None and 0 <= now - made[0] < FRESH_SECONDS:
            return made[1]
        page = self._make(path)
        with self._lock:
            self._made[path] = (now, page)
            self._made.move_to_end(path)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return page

    @contextmanager
    def source(self) -> Iterator[Source]:
        """What a page is made with, at this moment."""
        with self._database.transaction() as connection:
            yield Source(
                connection=connection,
                now=self._clock.now(),
                histories=self._histories,
                specs=self._specs,
            )

    def _make(self, path: str) -> Page:
        for pattern, make in _WAYS:
            if match := pattern.fullmatch(path):
                with self.source() as source:
                    return make(source, *match.groups())
        raise NotFound(f"no page '{path[:120]}'", hint=f"the pool is at {addresses.OVERVIEW}")
