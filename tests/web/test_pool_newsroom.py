"""One look serves all who watch, and nobody looks at what nobody watches; a stream goes on where it stopped."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from commonweal.core.errors import NotFound, Overloaded, Unavailable
from commonweal.train.curve import Point, point_of
from commonweal.web.pool.events import stream
from commonweal.web.pool.newsroom import News, Newsroom


def points(*numbers: int) -> list[Point]:
    return [point_of(n, 0.0, {"loss": 1.0 * n}, members=2, refused=0) for n in numbers]


class Looks:
    """Counts what was looked at; every look finds something new."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.seen: list[str] = []
        self.fails = fails
        self.lock = threading.Lock()

    def __call__(self, path: str) -> News:
        with self.lock:
            self.seen.append(path)
            number = len(self.seen)
        if self.fails is not None:
            raise self.fails
        return News(parts={"live_x": f"{path} {number}"}, refresh=0.01)


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(scene(), 20)

    asyncio.run(within())


def test_a_hundred_who_watch_one_page_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.web.pool.newsroom._AGAIN_SECONDS", 0.2)

    async def scene() -> None:
        looks = Looks()
        room = Newsroom(looks)
        heard: list[list[str]] = [[] for _ in range(100)]

        async def watch(mine: list[str]) -> None:
            async for news in room.follow("pool/index.html", silence=5):
                assert news is not None
                mine.append(news.parts["live_x"])
                if len(mine) == 3:
                    return

        await asyncio.gather(*(watch(mine) for mine in heard))
        assert len(looks.seen) <= 4
        assert all(mine == heard[0] for mine in heard), "all are told the same"

    run(scene)


def test_nobody_looks_when_nobody_watches() -> None:
    async def scene() -> None:
        looks = Looks()
        room = Newsroom(looks)
        assert looks.seen == []
        following = room.follow("pool/index.html", silence=5)
        await anext(following)
        assert room.watchers == 1
        await following.aclose()  # type: ignore[attr-defined]
        assert room.watchers == 0
        assert room._work is not None
        await room._work
        seen = len(looks.seen)
        await asyncio.sleep(0.2)
        assert len(looks.seen) == seen
        again = room.follow("pool/index.html", silence=5)
        assert await anext(again) is not None, "and who comes later is served again"

    run(scene)


def test_a_page_that_fails_keeps_no_other_from_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.web.pool.newsroom._AGAIN_SECONDS", 0.05)
    for error in (Unavailable("the database is away"), NotFound("gone"), ValueError("a bug")):

        async def scene(error: Exception = error) -> None:
            broken, fine = Looks(error), Looks()
            room = Newsroom(lambda path: broken(path) if "broken" in path else fine(path))
            silent = room.follow("pool/broken.html", silence=0.2)
            assert await anext(silent) is None, "it says that it lives"
            other = room.follow("pool/index.html", silence=5)
            assert await anext(other) is not None
            broken.fails = None
            if not isinstance(error, ValueError):
                found = [await anext(silent) for _ in range(3)]
                assert any(found), "when it goes again, it is told"

        run(scene)


def test_news_that_are_none_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.web.pool.newsroom._AGAIN_SECONDS", 0.02)

    async def scene() -> None:
        room = Newsroom(lambda path: News(parts={"live_x": "the same"}, refresh=0.02))
        following = room.follow("pool/index.html", silence=0.2)
        assert await anext(following) is not None
        assert await anext(following) is None

    run(scene)


def test_a_full_room_refuses_and_says_when_to_come_back() -> None:
    async def scene() -> None:
        room = Newsroom(Looks(), most=1)
        first = room.follow("pool/index.html", silence=5)
        await anext(first)
        with pytest.raises(Overloaded):
            await anext(room.follow("pool/join.html", silence=5))
        with pytest.raises(Overloaded):
            room.check()

    run(scene)


def told(*news: News | None, after: int = -1) -> list[str]:
    async def source() -> AsyncIterator[News | None]:
        for one in news:
            yield one

    async def all_of_it() -> list[str]:
        return [text async for text in stream(source(), after)]

    return asyncio.run(all_of_it())


def data_of(text: str) -> object:
    return json.loads(next(line[6:] for line in text.splitlines() if line.startswith("data: ")))


def test_only_what_changed_is_told_and_points_only_once() -> None:
    lines = told(
        News(parts={"live_a": "1", "live_b": "x"}, points=points(0, 1)),
        News(parts={"live_a": "2", "live_b": "x"}, points=points(0, 1, 2)),
        None,
        News(parts={"live_a": "2", "live_b": "x"}, points=points(0, 1, 2)),
    )
    assert lines[0] == "retry: 2000\n\n"
    assert data_of(lines[1]) == {"live_a": "1", "live_b": "x"}
    assert "id: 1\n" in lines[2]
    assert data_of(lines[3]) == {"live_a": "2"}
    assert data_of(lines[4]) == [[2, 0, 0, 2.0, None, 2, 0, 0]]
    assert "id: 2\n" in lines[4]
    assert lines[5].startswith(":")
    assert len(lines) == 6


def test_a_reader_that_comes_back_is_told_the_points_that_it_lacks() -> None:
    lines = told(News(parts={}, points=points(0, 1, 2, 3)), after=1)
    assert [row[0] for row in data_of(lines[1])] == [2, 3]  # type: ignore[index, attr-defined]
    assert len(told(News(parts={}, points=points(0, 1)), after=1)) == 1


def test_what_is_told_has_no_line_that_ends_an_event() -> None:
    (_, text) = told(News(parts={"live_a": "one\r\n\ntwo\u2028three"}))
    assert text.count("\n\n") == 1
    assert text.endswith("\n\n")
    assert data_of(text) == {"live_a": "one\r\n\ntwo\u2028three"}
