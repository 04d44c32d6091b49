"""A chat in which the hub runs tools: the model calls, the hub runs, the model reads and goes on.

One answer to the caller is several requests to the desk, at most :data:`MOST_TURNS`; each is billed like any other. The
caller sees the text of all turns as one answer, every call with its result as a :class:`ToolRun`, and one usage, the
sum. Where the model calls a tool of the caller's own, the answer ends there, as it does at OpenAI: that call is handed
out, and the hub runs none of the same turn.

Whatever a model writes as arguments is answered to the model. Nothing of it raises.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from commonweal.core.completion import Message, Request, ToolCall
from commonweal.core.errors import CommonwealError, UserError
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.serve.desk import Ask, Desk
from commonweal.serve.tools.tool import LONGEST, Output, ServedTool, ToolFailed

log = logging.getLogger(__name__)

MOST_TURNS = 8
MOST_CALLS = 8
"""Of one turn."""

LONGEST_ARGUMENTS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """A call that the hub ran: what the model was told (``output``), and what the caller may see of it (``detail``:
    the query and its rows). ``turn`` counts from 0."""

    turn: int
    call: ToolCall
    output: str
    failed: bool
    seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """For the wire."""
        return {
            "turn": self.turn,
            "id": self.call.id,
            "name": self.call.name,
            "arguments": self.call.arguments[:LONGEST_ARGUMENTS],
            "output": self.output,
            "failed": self.failed,
            "seconds": round(self.seconds, 4),
            "detail": dict(self.detail),
        }


@dataclass(slots=True)
class _Turn:
    """What was heard of one request."""

    text: str = ""
    ended: Ended = field(default_factory=Ended)
    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=0, completion_tokens=0))


async def converse(
    desk: Desk, ask: Ask, tools: Mapping[str, ServedTool], room: asyncio.Semaphore
) -> AsyncGenerator[Event | ToolRun, None]:
    """Answer ``ask`` with ``tools`` at hand (without any, as the desk does). ``room`` bounds how many tools run at once
    in this process. Raises UserError for a request that cannot have tools, and what the desk raises."""
    if not tools:
        async with aclosing(_all(desk, ask)) as events:
            async for event in events:
                yield event
        return
    request = _offering(ask.request, tools)
    used = Usage(prompt_tokens=0, completion_tokens=0)
    for turn in range(MOST_TURNS):
        if turn == MOST_TURNS - 1:
            request = replace(request, tool_choice="none")
        heard = _Turn()
        asked = replace(ask, id=ask.id if turn == 0 else f"{ask.id}-{turn}", request=request)
        async with aclosing(_heard(desk, asked, heard)) as pieces:
            async for piece in pieces:
                yield piece
        used, calls = _added(used, heard.usage), heard.ended.tool_calls
        left = request.max_tokens - heard.usage.completion_tokens
        foreign = tuple(call for call in calls if _is_foreign(call, ask.request))
        if foreign or not calls or left < 1 or turn == MOST_TURNS - 1:
            yield _last(heard.ended, foreign, cut=bool(calls) and left < 1)
            break
        messages = [*(request.messages or ()), _said(heard.text, calls)]
        for at, call in enumerate(calls):
            run = await _run(turn, at, call, tools, room)
            messages.append(Message(role="tool", content=run.output, tool_call_id=call.id))
            yield run
        request = replace(request, messages=tuple(messages), tool_choice="auto", max_tokens=left)
    yield used


def _offering(request: Request, tools: Mapping[str, ServedTool]) -> Request:
    """The request with the hub's tools beside the caller's own."""
    if request.messages is None or request.kind != "generate":
        raise UserError("tools of the hub are for chats", hint="ask /v1/chat/completions")
    if request.n != 1:
        raise UserError("with tools of the hub, n can only be 1")
    for tool in request.tools:
        if tool.name in tools:
            raise UserError(f"there are two tools '{tool.name}': yours and the hub's", hint="rename yours")
    return replace(request, tools=(*request.tools, *(tool.tool for tool in tools.values())))


async def _all(desk: Desk, ask: Ask) -> AsyncGenerator[Event, None]:
    async with aclosing(cast(AsyncGenerator[Event, None], desk.stream(ask))) as events:
        async for event in events:
            yield event


async def _heard(desk: Desk, ask: Ask, into: _Turn) -> AsyncGenerator[Event, None]:
    """The pieces of one request; how it ended and what it used go into ``into``."""
    async with aclosing(_all(desk, ask)) as events:
        async for event in events:
            match event:
                case Ended():
                    into.ended = event
                case Usage():
                    into.usage = event
                case Piece(text=text):
                    into.text += text
                    yield event
                case _:
                    yield event


def _is_foreign(call: ToolCall, request: Request) -> bool:
    """Whether the caller offered this tool; a name that nobody knows is the model's mistake."""
    return any(tool.name == call.name for tool in request.tools)


def _last(ended: Ended, foreign: tuple[ToolCall, ...], *, cut: bool) -> Ended:
    if foreign:
        return replace(ended, finish="tool_calls", tool_calls=foreign)
    if cut:
        return replace(ended, finish="length", tool_calls=())
    return replace(ended, finish="stop", tool_calls=()) if ended.tool_calls else ended


def _said(text: str, calls: tuple[ToolCall, ...]) -> Message:
    """The model's own turn, as it is shown to the model again. Templates and other servers read arguments as JSON, so
    what is none is wrapped."""
    return Message(
        role="assistant",
        content=text,
        tool_calls=tuple(replace(call, arguments=_readable(call.arguments)) for call in calls),
    )


def _readable(arguments: str) -> str:
    if _parsed(arguments) is not None:
        return arguments or "{}"
    return json.dumps({"unreadable": arguments[:200]})


def _parsed(arguments: str) -> dict[str, Any] | None:
    if len(arguments) > LONGEST_ARGUMENTS:
        return None
    try:
        found = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _run(
    turn: int, at: int, call: ToolCall, tools: Mapping[str, ServedTool], room: asyncio.Semaphore
) -> ToolRun:
    started = time.monotonic()
    try:
        tool, arguments = _checked(at, call, tools)
        async with room:
            output = await asyncio.to_thread(tool.run, arguments)
        text, failed = output.text, False
    except ToolFailed as error:
        output, text, failed = Output(text="", detail=error.detail), f"error: {error}", True
    except CommonwealError as error:
        output, text, failed = Output(text=""), f"error: {error.message}", True
    except Exception:  # a tool's own mistake: this answer goes on without it
        log.exception("tool.broke name=%s", call.name)
        output, text, failed = Output(text=""), "error: the tool failed", True
    return ToolRun(
        turn=turn,
        call=call,
        output=text if len(text) <= LONGEST else text[:LONGEST] + " (cut)",
        failed=failed,
        seconds=time.monotonic() - started,
        detail=output.detail,
    )


def _checked(at: int, call: ToolCall, tools: Mapping[str, ServedTool]) -> tuple[ServedTool, dict[str, Any]]:
    """The tool and its arguments. Raises ToolFailed."""
    if at >= MOST_CALLS:
        raise ToolFailed(f"too many calls at once; at most {MOST_CALLS}")
    tool = tools.get(call.name)
    if tool is None:
        raise ToolFailed(f"there is no tool '{call.name[:80]}'; there is: {', '.join(tools)}")
    if len(call.arguments) > LONGEST_ARGUMENTS:
        raise ToolFailed(f"the arguments are longer than {LONGEST_ARGUMENTS} characters")
    arguments = _parsed(call.arguments)
    if arguments is None:
        raise ToolFailed("the arguments should be a JSON object")
    return tool, arguments


def _added(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        seconds=one.seconds + other.seconds,
    )
