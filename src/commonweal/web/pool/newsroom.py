"""What changes on a page, told to all who look at it: one look of this process at the database serves them all.

A page that somebody watches is made as often as it says (at most once a second), one page after the other; a page
that nobody watches is not made at all. Nobody is told more than the newest state, so a slow reader holds up nothing.
Lives on the hub's event loop; looking runs in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from commonweal.core.errors import CommonwealError, Overloaded
from commonweal.train.curve import Point

log = logging.getLogger(__name__)

MOST_WATCHERS = 2000
"""Of one process."""

_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The parts of a page that change, as HTML by name; of a job the curve so far. ``refresh`` is in how many seconds
    to look again."""

    parts: Mapping[str, str]
    points: Sequence[Point] = ()
    refresh: float = 1.0


@dataclass(slots=True)
class _Topic:
    due: float
    watchers: int = 0
    news: News | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, news: News) -> None:
        """Those who wait for the turn of this news are woken; who waits later waits for the next."""
        if self.news is not None and (self.news.parts, self.news.points) == (news.parts, news.points):
            return
        turn, self.news, self.turn = self.turn, news, asyncio.Event()
        turn.set()


class Newsroom:
    """``look`` makes the news of a page, in a thread."""

    def __init__(self, look: Callable[[str], News], most: int = MOST_WATCHERS) -> None:
        self._look, self._most = look, most
        self._topics: dict[str, _Topic] = {}
        self._called = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def watchers(self) -> int:
        return sum(topic.watchers for topic in self._topics.values())

    def check(self) -> None:
        """Raises Overloaded where there is no place for one more."""
        if self.watchers >= self._most:
            raise Overloaded("too many people look at this hub's pages now", retry_after=30)

    async def follow(self, path: str, *, silence: float) -> AsyncIterator[News | None]:
        """The news of a page from now on, until nobody asks for more; None after so many seconds without any.
        Raises Overloaded."""
        topic = self._enter(path)
        try:
            seen: News | None = None
            while True:
                turn = topic.turn
                if topic.news is not seen:
                    seen = topic.news
                    yield seen
                    continue
                try:
                    await asyncio.wait_for(turn.wait(), silence)
                except TimeoutError:
                    yield None
        finally:
            self._leave(path, topic)

    def _enter(self, path: str) -> _Topic:
        self.check()
        topic = self._topics.setdefault(path, _Topic(due=0.0))
        topic.watchers += 1
        if topic.news is None:
            self._called.set()
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._look_round(), name="newsroom")
        return topic

    def _leave(self, path: str, topic: _Topic) -> None:
        topic.watchers -= 1
        if not topic.watchers:
            self._topics.pop(path, None)
            self._called.set()

    async def _look_round(self) -> None:
        """Until nobody watches anything."""
        now = asyncio.get_running_loop().time
        while self._topics:
            self._called.clear()
            due = [(topic.due, path) for path, topic in self._topics.items() if topic.due <= now()]
            for _, path in sorted(due):
                if (topic := self._topics.get(path)) is not None:
                    topic.due = now() + await self._look_at(path, topic)
            soonest = min((topic.due for topic in self._topics.values()), default=0.0)
            try:
                await asyncio.wait_for(self._called.wait(), max(0.05, soonest - now()))
            except TimeoutError:
                continue

    async def _look_at(self, path: str, topic: _Topic) -> float:
        """Seconds until the next look."""
        try:
            news = await run_in_threadpool(self._look, path)
        except (
            CommonwealError
        ) as error:  # the database is away, or the page is gone: the next look may find more
            log.info("newsroom.waits page=%s error=%s", path, error.code)
            return _AGAIN_SECONDS
        except Exception:  # one page's fault is not the others'
            log.exception("newsroom.failed page=%s", path)
            return 10 * _AGAIN_SECONDS
        topic.publish(news)
        return max(_AGAIN_SECONDS, news.refresh)
