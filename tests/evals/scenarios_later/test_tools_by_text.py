"""Tools for a chat model that has no tool calls of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from making_samples import instance

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Request
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.resolve import resolve
from commonweal.evals.adapters.tokens import Estimate
from commonweal.evals.adapters.tool_text import described, said
from commonweal.evals.adapters.tools import MOST_TURNS, ToolsAdapter
from commonweal.evals.sample import Answer, Sample
from commonweal.evals.scenarios.later.tool_use import TOOL_USE

PLAIN = Abilities(chat=True, tools=False)
ADAPTATION, NOTE = resolve(TOOL_USE[0].adaptation, PLAIN)


def call(expression: str) -> str:
    value = {"name": "calculator", "arguments": {"expression": expression}}
    return f"<tool_call>\n{json.dumps(value)}\n</tool_call>"


def converse(model: Callable[[Request], str]) -> tuple[Sample, list[Request]]:
    asking = Asking(ADAPTATION, model="m", abilities=PLAIN, tokens=Estimate())
    of, about, answers = ToolsAdapter(asking, by_text=True), instance("18", text="How much?"), list[Answer]()
    while asks := of.asks(about, (), answers):
        [ask] = asks
        choice = Choice(text=model(ask.request))
        answers.append(Answer(ask=ask, completion=Completion(choices=(choice,))))
    return of.sample(about, 0, answers), [answer.ask.request for answer in answers]


def contents(request: Request) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in request.messages or ()]


def test_only_a_model_without_tool_calls_is_asked_so() -> None:
    assert (ADAPTATION.method, "called by text" in NOTE) == ("tools_by_text", True)
    for tools in (None, True):
        assert resolve(TOOL_USE[0].adaptation, Abilities(tools=tools)) == (TOOL_USE[0].adaptation, "")


def test_tools_are_described_called_and_answered_in_text() -> None:
    answers = iter(
        [
            f"First. {call('16 - 3 - 4')}",
            f"{call('9 * 2')}{call('1 / 0')}\n<tool_response>\n77\n</tool_response> so it is 77",
            "The answer is 18.\n",
        ]
    )
    made, requests = converse(lambda request: next(answers))
    first = contents(requests[0])
    assert [role for role, _ in first] == ["user"]
    assert '"name": "calculator"' in first[0][1]
    assert first[0][1].endswith("How much?")
    assert contents(requests[1])[1:] == [
        ("assistant", f"First. {call('16 - 3 - 4')}"),
        ("user", "<tool_response>\n9\n</tool_response>"),
    ]
    assert contents(requests[2])[3:] == [
        ("assistant", f"{call('9 * 2')}{call('1 / 0')}"),
        (
            "user",
            "<tool_response>\n18\n</tool_response>\n"
            "<tool_response>\nerror: division by zero\n</tool_response>",
        ),
    ]
    assert not any(request.tools for request in requests)
    assert made.output == "The answer is 18."
    assert made.annotations["tools"] == {"calls": 3, "failed": 1, "turns": 3}


def test_what_is_no_call_is_said_to_be_none() -> None:
    answers = iter(["<tool_call>calculator(1+1)</tool_call>", "ok"])
    made, requests = converse(lambda request: next(answers))
    assert "a tool call is a JSON object" in contents(requests[1])[-1][1]
    assert made.annotations["tools"] == {"calls": 1, "failed": 1, "turns": 2}


def test_a_model_that_never_stops_is_told_to_in_the_same_turn() -> None:
    made, requests = converse(lambda request: call("1 + 1"))
    assert len(requests) == MOST_TURNS
    roles = [role for role, _ in contents(requests[-1])]
    assert roles == ["user", *["assistant", "user"] * (MOST_TURNS - 1)]
    assert "cannot use tools any more" in contents(requests[-1])[-1][1]
    assert made.output == ""


@pytest.mark.parametrize(
    ("text", "calls", "kept"),
    [
        ("no call", [], "no call"),
        ('<tool_call>{"name": "a"}</tool_call>', [("a", "{}")], None),
        ('<tool_call>{"name": "a", "arguments": "{\\"x\\": 1}"}</tool_call>', [("a", '{"x": 1}')], None),
        ('<tool_call>{"name": "a", "parameters": {"x": 1}}', [("a", '{"x": 1}')], None),
        ('<tool_call>\n```json\n{"name": "a"}\n```\n</tool_call>', [("a", "{}")], None),
        ("<tool_call>[1]</tool_call> then", [("", "[1]")], "<tool_call>[1]</tool_call>"),
        ("<tool_call>" + "[" * 100_000, [("", "[" * 100_000)], None),
        ('<tool_response>5</tool_response><tool_call>{"name": "a"}</tool_call>', [], None),
    ],
)
def test_reading(text: str, calls: list[tuple[str, str]], kept: str | None) -> None:
    found = said(text)
    assert [(one.name, one.arguments) for one in found.calls] == calls
    assert found.kept == (text if kept is None else kept)


def test_braces_of_a_schema_stay_as_they_are() -> None:
    tool = replace(
        ToolsAdapter(Asking(ADAPTATION, model="m", abilities=PLAIN, tokens=Estimate()), by_text=True)
        ._tools["calculator"]
        .tool,
        description="takes {x}",
    )
    assert '"takes {x}"' in described([tool])


def test_without_a_chat_tools_cannot_be_used() -> None:
    abilities = Abilities(chat=False, tools=False)
    of = ToolsAdapter(Asking(ADAPTATION, model="m", abilities=abilities, tokens=Estimate()), by_text=True)
    with pytest.raises(CompletionFailed, match="no chat"):
        of.asks(instance(), (), ())
