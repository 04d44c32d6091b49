"""The engine without a model: fixed by the request, and fast."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from commonweal.core.completion import Completion, CompletionFailed, Message, Request, Tool
from commonweal.core.errors import NotFound
from commonweal.core.streaming import Piece, Vector, collected
from commonweal.models.engine.mock import MockEngine, MockOptions


def ask(**more: Any) -> Request:
    return Request(**{"model": "m", "prompt": "Hello there", "max_tokens": 16, **more})


def made(request: Request, options: MockOptions | None = None) -> Completion:
    return asyncio.run(collected(MockEngine(options).stream(request)))


def test_equal_requests_have_equal_answers_and_others_others() -> None:
    assert made(ask(n=2)) == made(ask(n=2)) or made(ask(n=2)).choices == made(ask(n=2)).choices
    texts = {made(ask(prompt=f"Hello {i}")).text for i in range(20)}
    assert len(texts) == 20
    got = made(ask(n=2))
    assert got.choices[0].text != got.choices[1].text
    assert got.completion_tokens == 32
    assert got.choices[0].finish == "length"


def test_what_it_wrote_it_scores_alike() -> None:
    written = made(ask())
    ids = tuple([int(token.id or 0) for token in written.choices[0].tokens])
    scored = made(ask(kind="score", ids=ids))
    assert scored.choices[0].tokens == written.choices[0].tokens


def test_stops_lengths_tools_and_vectors() -> None:
    words = made(ask()).text.split(" ")
    assert made(ask(), MockOptions(tokens=3)).choices[0].finish == "stop"
    assert made(ask(stop=(words[5],))).choices[0].finish in ("stop", "length")
    tool = Tool(name="clock", description="", parameters={})
    chat = ask(
        prompt=None, messages=(Message(role="user", content="Hi"),), tools=(tool,), tool_choice="required"
    )
    assert made(chat).choices[0].tool_calls[0].name == "clock"
    with pytest.raises(CompletionFailed):
        made(ask(max_tokens=100), MockOptions(window=50))

    async def vector() -> Any:
        return await anext(MockEngine().stream(ask(kind="embed")))

    found = asyncio.run(vector())
    assert isinstance(found, Vector)
    assert sum(value * value for value in found.values) == pytest.approx(1.0)


def test_models_are_any_until_some_are_loaded() -> None:
    async def main() -> None:
        engine = MockEngine()
        await collected(engine.stream(ask(model="whatever")))
        await engine.load("m", "folder")
        await engine.load_adapter("a", "m", "folder")
        await collected(engine.stream(ask(model="a")))
        with pytest.raises(NotFound):
            await collected(engine.stream(ask(model="whatever")))
        await engine.unload("a")
        with pytest.raises(NotFound):
            await engine.unload("a")

    asyncio.run(main())


def test_the_pace_is_kept() -> None:
    """By the event loop's own clock, which stands still but for the sleeps."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stream = MockEngine(MockOptions(first_token=0.05, rate=200.0)).stream(ask(max_tokens=5))
        return [loop.time() - began async for event in stream if isinstance(event, Piece) and event.tokens]

    times = asyncio.run(main())
    assert times[0] >= 0.05
    assert times[-1] >= 0.05 + 4 / 200


def test_it_sustains_thousands_of_requests_a_second() -> None:
    """In processor time of this process, since other tests run beside it."""

    async def main() -> None:
        engine = MockEngine(MockOptions(piece=16))
        requests = [ask(prompt=f"Hello {i}") for i in range(2000)]
        await asyncio.gather(*[collected(engine.stream(request)) for request in requests])

    began = time.process_time()
    asyncio.run(main())
    assert 2000 / (time.process_time() - began) > 2000
