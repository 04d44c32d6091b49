"""From asks to answers: one or several at the desk at once, whole or event by event.

A body may hold many prompts; each is an ask of its own. At most :data:`AT_ONCE` of a body are at the desk, the first
error ends them all, and who stops listening closes every one. Each ask's events are pulled by one task from first to
last, since what makes them may depend on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from commonweal.core.completion import CompletionFailed
from commonweal.core.streaming import Ended, Event, Gathered, Usage, gathered
from commonweal.serve.desk import Ask, Desk

AT_ONCE: Final = 32


@asynccontextmanager
async def asked(desk: Desk, ask: Ask) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of an ask, closed whatever happens."""
    events = desk.stream(ask)
    try:
        yield events
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def answer(desk: Desk, ask: Ask) -> Gathered:
    """A whole answer. Raises CompletionFailed also for a choice that ended in an error."""
    async with asked(desk, ask) as events:
        found = await gathered(events)
    if ask.request.kind == "embed" and not found.vector:
        raise CompletionFailed("malformed", "the worker did not answer with a vector")
    for choice in found.choices:
        if choice.finish == "error":
            raise _failed()
    return found


async def answers(desk: Desk, asks: Sequence[Ask]) -> list[Gathered]:
    """Whole answers, in the order of the asks."""
    if len(asks) == 1:
        return [await answer(desk, asks[0])]
    free = asyncio.Semaphore(AT_ONCE)

    async def one(ask: Ask) -> Gathered:
        async with free:
            return await answer(desk, ask)

    tasks = [asyncio.create_task(one(ask)) for ask in asks]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _ended(tasks)


async def events_of(desk: Desk, asks: Sequence[Ask]) -> AsyncGenerator[tuple[int, Event], None]:
    """Events as they come, each with the number of its ask."""
    if len(asks) == 1:
        async with asked(desk, asks[0]) as events:
            async for event in events:
                yield 0, event
        return
    async with aclosing(_merged(desk, asks)) as merged:
        async for numbered in merged:
            yield numbered


async def _merged(desk: Desk, asks: Sequence[Ask]) -> AsyncGenerator[tuple[int, Event], None]:
    free = asyncio.Semaphore(AT_ONCE)
    queue: asyncio.Queue[tuple[int, Event] | BaseException | None] = asyncio.Queue(AT_ONCE)

    async def pull(number: int, ask: Ask) -> None:
        try:
            async with free, asked(desk, ask) as events:
                async for event in events:
                    await queue.put((number, event))
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(pull(number, ask)) for number, ask in enumerate(asks)]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        await _ended(tasks)


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def checked(ended: Ended) -> Ended:
    """OpenAI has no finish for an error: it is one. Raises CompletionFailed."""
    if ended.finish == "error":
        raise _failed()
    return ended


def _failed() -> CompletionFailed:
    return CompletionFailed("server_error", "the model failed while it generated this answer")


def total(usages: Sequence[Usage]) -> Usage:
    """The sum over several asks."""
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
