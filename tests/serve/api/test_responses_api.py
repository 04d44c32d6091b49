"""Responses through the real openai client: without state, whole and as typed events."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import openai
import pytest
from api_world import WORDS, World, raising, says
from openai import OpenAI
from pydantic import BaseModel

from commonweal.core.completion import CompletionFailed, ToolCall
from commonweal.core.streaming import Ended

TEXT = "".join(WORDS)
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
CALL = ToolCall(id="call_a", name="weather", arguments='{"place": "Paris"}')


def test_a_whole_answer(world: World, client: OpenAI) -> None:
    answer = client.responses.create(
        model="tiny", input="Speak.", instructions="Be brief.", metadata={"a": "b"}, temperature=0.5
    )
    assert answer.output_text == TEXT
    assert (answer.status, answer.error, answer.metadata, answer.temperature) == (
        "completed",
        None,
        {"a": "b"},
        0.5,
    )
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 8)
    assert answer.usage.input_tokens_details.cached_tokens == 3
    told = [(message.role, message.content) for message in world.desk.request.messages or ()]
    assert told == [("system", "Be brief."), ("user", "Speak.")]


def test_an_answer_cut_by_its_limit_is_incomplete(client: OpenAI) -> None:
    answer = client.responses.create(model="tiny", input="Speak.", max_output_tokens=2)
    assert (answer.status, answer.output_text) == ("incomplete", "Four legs")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_typed_events(client: OpenAI) -> None:
    events = list(client.responses.create(model="tiny", input="Speak.", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 8,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == TEXT
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == TEXT
    assert last.response.usage is not None


def test_the_clients_own_helper_puts_a_stream_together(world: World, client: OpenAI) -> None:
    ended = Ended(finish="tool_calls", tool_calls=(CALL, replace(CALL, id="call_b")))
    world.desk.script = lambda ask: says(ask, WORDS, ended)
    with client.responses.stream(model="tiny", input="Speak.", tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert final.output_text == TEXT
    assert [item.arguments for item in final.output if item.type == "function_call"] == [CALL.arguments] * 2


def test_a_stream_cut_by_its_limit_ends_incomplete(client: OpenAI) -> None:
    *_, last = client.responses.create(model="tiny", input="x", stream=True, max_output_tokens=1)
    assert last.type == "response.incomplete"


def test_a_turn_with_a_tool_is_sent_back_as_it_came(world: World, client: OpenAI) -> None:
    world.desk.script = lambda ask: says(ask, (), Ended(finish="tool_calls", tool_calls=(CALL,)))
    first = client.responses.create(model="tiny", input="Weather?", tools=[WEATHER], tool_choice="required")
    assert [item.type for item in first.output] == ["function_call"]
    world.desk.script = says
    second: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        *first.output,
        {"type": "function_call_output", "call_id": "call_a", "output": "sun"},
    ]
    answered = client.responses.create(model="tiny", input=second, tools=[WEATHER])
    user, called, told = world.desk.request.messages or ()
    assert (user.content, called.tool_calls, told.role, told.tool_call_id) == (
        "Weather?",
        (CALL,),
        "tool",
        "call_a",
    )
    client.responses.create(
        model="tiny", input=[*second, *answered.output, {"role": "user", "content": "More"}]
    )
    assert [m.role for m in world.desk.request.messages or ()] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert world.desk.request.messages is not None
    assert world.desk.request.messages[3].content == TEXT


def test_structured_output_by_the_clients_own_helper(world: World, client: OpenAI) -> None:
    class Point(BaseModel):
        x: int

    world.desk.script = lambda ask: says(ask, ('{"x": 1}',))
    assert client.responses.parse(model="tiny", input="x", text_format=Point).output_parsed == Point(x=1)
    assert '"x"' in (world.desk.request.schema or "")


def test_log_probabilities(client: OpenAI) -> None:
    answer = client.responses.create(
        model="tiny", input="x", top_logprobs=2, include=["message.output_text.logprobs"]
    )
    message = answer.output[0]
    assert message.type == "message"
    content = message.content[0]
    assert content.type == "output_text"
    assert content.logprobs is not None
    assert [token.token for token in content.logprobs] == list(WORDS)
    assert content.logprobs[0].top_logprobs[0].logprob == -0.5
    events = client.responses.create(model="tiny", input="x", top_logprobs=1, stream=True)
    assert sum(len(event.logprobs) for event in events if event.type == "response.output_text.delta") == 8


def test_pictures_come_within_the_request(world: World, client: OpenAI) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
    parts: Any = [
        {"type": "input_image", "image_url": url, "detail": "auto"},
        {"type": "input_text", "text": "?"},
    ]
    client.responses.create(model="tiny", input=[{"role": "user", "content": parts}])
    message = (world.desk.request.messages or ())[0]
    assert (message.content, message.images[0].data) == ("?", b"jpeg")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"background": True}, "background"),
    ({"store": True}, "store"),
    ({"truncation": "auto"}, "truncation"),
    ({"input": []}, "input"),
    ({"input": 7}, "input"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"type": "reasoning", "id": "x"}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y"}]}]},
     "input[0].content[0].image_url"),
    ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [WEATHER, WEATHER]}, "tools"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"messages": []}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[r[1] for r in REFUSED])
def test_a_bad_request_names_the_field(world: World, change: dict[str, Any], param: str) -> None:
    reply = world.post("/v1/responses", {"model": "tiny", "input": "x"} | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert not world.desk.asks


def test_an_error_before_the_first_event_is_an_http_error(world: World, client: OpenAI) -> None:
    world.desk.script = raising(CompletionFailed("too_long", "too many tokens"))
    with pytest.raises(openai.BadRequestError, match="too many tokens"):
        client.responses.create(model="tiny", input="x", stream=True)


def test_an_error_in_mid_stream_fails_the_response(world: World, client: OpenAI) -> None:
    world.desk.script = raising(CompletionFailed("unreachable", "the worker was lost"), after=2)
    *_, error, failed = client.responses.create(model="tiny", input="x", stream=True)
    assert error.type == "error"
    assert error.code == "worker_lost"
    assert failed.type == "response.failed"
    assert failed.response.error is not None
    assert failed.response.error.code == "server_error"
    assert failed.sequence_number == error.sequence_number + 1
