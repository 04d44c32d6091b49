"""The loop of a chat with tools, against a desk that says what the test wrote down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_desk import ScriptedDesk, call

from commonweal.core.completion import CompletionFailed, Message, Request, Tool
from commonweal.core.errors import InsufficientCredits, Unavailable, UserError
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.serve.desk import Ask
from commonweal.serve.tools.arithmetic import Calculator
from commonweal.serve.tools.conversation import MOST_CALLS, MOST_TURNS, ToolRun, converse
from commonweal.serve.tools.tool import LONGEST, Output, ServedTool

ECHO = Tool(name="echo", description="", parameters={})
WEATHER = Tool(name="weather", description="", parameters={"type": "object"})


def ask(**fields: Any) -> Ask:
    messages = (Message(role="user", content="what is 6 * 7?"),)
    request = Request(model="m", **{"messages": messages, "max_tokens": 100} | fields)
    return Ask(id="req_1", account="a", request=request)


@dataclass(frozen=True)
class Echo:
    """A tool that gives back, or fails."""

    error: Exception | None = None
    tool: Tool = ECHO

    def run(self, arguments: Mapping[str, Any]) -> Output:
        if self.error:
            raise self.error
        return Output(text=json.dumps(arguments))


TOOLS: Mapping[str, ServedTool] = {"calculator": Calculator(), "echo": Echo()}


def conversation(
    desk: ScriptedDesk, asked: Ask, tools: Mapping[str, ServedTool] = TOOLS
) -> list[Event | ToolRun]:
    async def heard() -> list[Event | ToolRun]:
        return [event async for event in converse(desk, asked, tools, asyncio.Semaphore(2))]

    return asyncio.run(heard())


def runs(events: list[Event | ToolRun]) -> list[ToolRun]:
    return [event for event in events if isinstance(event, ToolRun)]


def test_the_model_calls_the_hub_runs_the_model_reads() -> None:
    desk = ScriptedDesk([call("calculator", '{"expression": "6 * 7"}')], "It is 42.")
    events = conversation(desk, ask())
    (run,) = runs(events)
    assert (run.output, run.failed, run.turn) == ("42", False, 0)
    assert run.detail == {"expression": "6 * 7", "result": "42"}
    assert "".join(event.text for event in events if isinstance(event, Piece)) == "It is 42. "
    assert events[-2:] == [Ended(), Usage(prompt_tokens=200, completion_tokens=20)]
    first, second = (asked.request for asked in desk.asks)
    assert [tool.name for tool in first.tools] == ["calculator", "echo"]
    assert second.messages is not None
    assert [message.role for message in second.messages] == ["user", "assistant", "tool"]
    assert second.messages[2] == Message(role="tool", content="42", tool_call_id="call_1")
    assert second.max_tokens == 90


def test_each_turn_is_an_ask_of_its_own() -> None:
    once = [call("echo", "{}")]
    desk = ScriptedDesk(once, once, "done")
    conversation(desk, ask())
    assert [asked.id for asked in desk.asks] == ["req_1", "req_1-1", "req_1-2"]
    assert {asked.account for asked in desk.asks} == {"a"}
    assert desk.closed == 3


def test_a_call_that_was_demanded_is_demanded_once() -> None:
    desk = ScriptedDesk([call("echo", "{}")], "done")
    conversation(desk, ask(tool_choice="required"))
    assert [asked.request.tool_choice for asked in desk.asks] == ["required", "auto"]


def test_a_model_that_never_stops_calling_is_stopped() -> None:
    desk = ScriptedDesk(*[[call("echo", "{}")]] * MOST_TURNS)
    events = conversation(desk, ask(max_tokens=1000))
    assert len(runs(events)) == MOST_TURNS - 1
    assert events[-2] == Ended(finish="stop")
    assert desk.asks[-1].request.tool_choice == "none"


def test_max_tokens_are_those_of_all_turns() -> None:
    desk = ScriptedDesk([call("echo", "{}")], [call("echo", "{}")])
    events = conversation(desk, ask(max_tokens=20))
    assert events[-2] == Ended(finish="length")
    assert [asked.request.max_tokens for asked in desk.asks] == [20, 10]


def test_a_tool_of_the_callers_ends_the_answer() -> None:
    theirs = call("weather", '{"at": "home"}', "call_2")
    desk = ScriptedDesk([call("echo", "{}")], [call("echo", "{}"), theirs])
    events = conversation(desk, ask(tools=(WEATHER,)))
    assert len(runs(events)) == 1
    assert events[-2] == Ended(finish="tool_calls", tool_calls=(theirs,))
    assert [tool.name for tool in desk.asks[0].request.tools] == ["weather", "calculator", "echo"]


def test_two_tools_of_one_name_are_refused() -> None:
    mine = Tool(name="calculator", description="", parameters={})
    with pytest.raises(UserError, match="two tools 'calculator'"):
        conversation(ScriptedDesk(), ask(tools=(mine,)))


def test_several_answers_at_once_are_refused_with_tools_only() -> None:
    with pytest.raises(UserError, match="n can only be 1"):
        conversation(ScriptedDesk(), ask(n=2))
    assert len(conversation(ScriptedDesk("hello"), ask(n=2), {})) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("not JSON", "the arguments should be a JSON object"),
        ("[1]", "the arguments should be a JSON object"),
        ("[" * 5000, "the arguments should be a JSON object"),
        ('{"expression": 7}', "the argument 'expression' should be a text"),
        ("{}", "the argument 'expression' should be a text"),
        ("{\"expression\": \"__import__('os').system('id')\"}", "only numbers"),
        ('{"expression": "9**9**9"}', "too large"),
        ('{"expression": "' + "1+" * 1000 + '1"}', "at most 500 characters"),
        ('{"expression": "' + "1" * 30_000 + '"}', "longer than 20000 characters"),
    ],
)
def test_hostile_arguments_are_answered_to_the_model(arguments: str, told: str) -> None:
    desk = ScriptedDesk([call("calculator", arguments)], "I see.")
    (run,) = runs(conversation(desk, ask()))
    assert run.failed
    assert run.output.startswith("error: ")
    assert told in run.output
    shown = (desk.asks[1].request.messages or ())[1].tool_calls[0].arguments
    assert isinstance(json.loads(shown), dict)
    assert len(shown) < 3000


def test_a_tool_that_nobody_offered_is_answered_to_the_model() -> None:
    desk = ScriptedDesk([call("rm", "{}")], "Sorry.")
    (run,) = runs(conversation(desk, ask()))
    assert run.output == "error: there is no tool 'rm'; there is: calculator, echo"


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("secret"), "error: the tool failed"), (Unavailable("away"), "error: away")],
)
def test_a_tool_that_breaks_does_not_break_the_answer(error: Exception, told: str) -> None:
    desk = ScriptedDesk([call("echo", "{}")], "Sorry.")
    events = conversation(desk, ask(), {"echo": Echo(error)})
    assert [run.output for run in runs(events)] == [told]
    assert isinstance(events[-1], Usage)


def test_too_many_calls_of_one_turn_and_long_outputs_are_cut() -> None:
    many = [call("echo", json.dumps({"a": "b" * 10_000}), f"c{number}") for number in range(MOST_CALLS + 1)]
    found = runs(conversation(ScriptedDesk(many, "done"), ask()))
    assert [run.failed for run in found] == [False] * MOST_CALLS + [True]
    assert all(len(run.output) <= LONGEST + 6 for run in found)


@given(st.text(max_size=200))
def test_no_arguments_raise(arguments: str) -> None:
    desk = ScriptedDesk([call("calculator", arguments), call("echo", arguments)], "done")
    for run in runs(conversation(desk, ask())):
        json.dumps(run.json())


@pytest.mark.parametrize("error", [InsufficientCredits("no credits"), CompletionFailed("timeout", "lost")])
def test_what_the_desk_raises_ends_the_answer(error: Exception) -> None:
    desk = ScriptedDesk([call("echo", "{}")], error)
    with pytest.raises(type(error)):
        conversation(desk, ask())
    assert desk.closed == 2


def test_who_stops_listening_stops_the_work() -> None:
    desk = ScriptedDesk("a long answer")

    async def first() -> None:
        async with aclosing(converse(desk, ask(), TOOLS, asyncio.Semaphore(1))) as events:
            async for _ in events:
                break

    asyncio.run(first())
    assert desk.closed == 1


def test_a_prompt_has_no_tools() -> None:
    with pytest.raises(UserError, match="for chats"):
        conversation(ScriptedDesk(), ask(messages=None, prompt="hello"))
