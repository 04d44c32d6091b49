"""Chat through the real openai client, which checks every answer against its own types."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest
from api_world import WORDS, World, raising, says
from openai import OpenAI
from pydantic import BaseModel

from commonweal.core.completion import CompletionFailed, ToolCall
from commonweal.core.errors import InsufficientCredits, NotFound, Overloaded, Unavailable
from commonweal.core.streaming import Ended

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Speak."}]}
TEXT = "".join(WORDS)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
CALLS = (
    ToolCall(id="call_a", name="weather", arguments='{"place": "Paris"}'),
    ToolCall(id="call_b", name="weather", arguments='{"place": "Rome"}'),
)


def test_a_whole_answer(world: World, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "tiny"
    assert answer.system_fingerprint == "fp_0123456789abcdef"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        7,
        8,
        15,
    )
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    ask = world.desk.asks[0]
    assert (ask.account, ask.trusted, ask.id) == ("ann", False, raw.headers["x-request-id"])
    assert answer.id == "chatcmpl-" + ask.id.removeprefix("req_")
    assert (ask.request.temperature, ask.request.top_p) == (1.0, 1.0)
    assert (ask.request.max_tokens, ask.request.fit) == (2048, True)
    assert raw.headers["x-commonweal-read-by"] == "members"
    assert answer.model_extra == {"commonweal": {"read_by": "members"}}


def test_a_stream(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * 8
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 8 + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.system_fingerprint) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage_ends_with_it(world: World) -> None:
    body = ASK | {"stream": True, "stream_options": {"include_usage": True}}
    reply = world.post("/v1/chat/completions", body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 15
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 9


def test_every_parameter_arrives(world: World, client: OpenAI) -> None:
    client.chat.completions.create(
        **ASK, n=2, seed=7, temperature=0.3, top_p=0.9, max_completion_tokens=5, stop=["END", "\n\n"],
        frequency_penalty=0.5, presence_penalty=-0.5, logit_bias={"42": -100, "7": 1}, logprobs=True,
        top_logprobs=3, user="me", metadata={"a": "b"}, store=False, reasoning_effort="low",
        parallel_tool_calls=True, service_tier="auto", prompt_cache_key="k",
    )  # fmt: skip
    request = world.desk.request
    assert (request.n, request.seed, request.temperature, request.top_p) == (2, 7, 0.3, 0.9)
    assert (request.max_tokens, request.stop, request.logprobs) == (5, ("END", "\n\n"), 3)
    assert not request.fit
    assert request.penalties == (0.5, -0.5)
    assert request.bias == ((7, 1.0), (42, -100.0))


def test_choices_and_log_probabilities(client: OpenAI) -> None:
    answer = client.chat.completions.create(**ASK, n=2, logprobs=True, top_logprobs=2, max_tokens=3)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    told = answer.choices[1].logprobs
    assert told is not None
    assert told.content is not None
    assert [token.token for token in told.content] == list(WORDS[:3])
    assert told.content[0].bytes == list(b"Four")
    assert [(top.token, top.logprob) for top in told.content[0].top_logprobs] == [("Four", -0.5), ("x", -1.5)]


def test_log_probabilities_in_a_stream(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True, logprobs=True, n=2, max_tokens=2))
    tokens = [
        (chunk.choices[0].index, token.token)
        for chunk in chunks
        if chunk.choices[0].logprobs is not None
        for token in chunk.choices[0].logprobs.content or ()
    ]
    assert tokens == [(0, "Four"), (0, " legs"), (1, "Four"), (1, " legs")]


def call_tools(ask: Any) -> Any:
    return says(ask, (), Ended(finish="tool_calls", tool_calls=CALLS))


def test_tools_are_called(world: World, client: OpenAI) -> None:
    world.desk.script = call_tools
    answer = client.chat.completions.create(**ASK, tools=[WEATHER], tool_choice="required")
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    assert [(c.id, c.function.arguments) for c in choice.message.tool_calls] == [  # type: ignore[union-attr]
        (call.id, call.arguments) for call in CALLS
    ]
    assert world.desk.request.tool_choice == "required"
    assert world.desk.request.tools[0].parameters == WEATHER["function"]["parameters"]


def test_tools_are_called_one_by_one_if_so_wanted(world: World, client: OpenAI) -> None:
    world.desk.script = call_tools
    answer = client.chat.completions.create(**ASK, tools=[WEATHER], parallel_tool_calls=False)
    assert len(answer.choices[0].message.tool_calls or ()) == 1


def test_the_clients_own_helper_puts_a_streamed_call_together(world: World, client: OpenAI) -> None:
    world.desk.script = call_tools
    with client.chat.completions.stream(**ASK, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.done" in kinds
    assert message.tool_calls is not None
    assert [call.function.arguments for call in message.tool_calls] == [call.arguments for call in CALLS]


def test_what_the_client_answered_can_be_sent_back(world: World, client: OpenAI) -> None:
    """A whole turn with a tool: the answer's own message object, and the tool's result."""
    world.desk.script = call_tools
    first = client.chat.completions.create(**ASK, tools=[WEATHER]).choices[0].message
    world.desk.script = says
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in CALLS]
    client.chat.completions.create(
        model="tiny", messages=[*ASK["messages"], first, *results], tools=[WEATHER]
    )
    _, called, *told = world.desk.request.messages or ()
    assert called.tool_calls == CALLS
    assert [(message.role, message.tool_call_id) for message in told] == [
        ("tool", "call_a"),
        ("tool", "call_b"),
    ]


@pytest.mark.parametrize(
    ("choice", "arrives"),
    [("none", "none"), ("auto", "auto"), ({"type": "function", "function": {"name": "weather"}}, "weather")],
)
def test_which_tool_may_be_chosen(world: World, client: OpenAI, choice: Any, arrives: str) -> None:
    client.chat.completions.create(**ASK, tools=[WEATHER], tool_choice=choice)
    assert world.desk.request.tool_choice == arrives


def test_structured_output_by_the_clients_own_helper(world: World, client: OpenAI) -> None:
    class Point(BaseModel):
        x: int
        y: int

    world.desk.script = lambda ask: says(ask, ('{"x": 1,', ' "y": 2}'))
    parsed = client.chat.completions.parse(**ASK, response_format=Point).choices[0].message.parsed
    assert parsed == Point(x=1, y=2)
    schema = json.loads(world.desk.request.schema or "")
    assert schema["required"] == ["x", "y"]


def test_a_json_object(world: World, client: OpenAI) -> None:
    client.chat.completions.create(**ASK, response_format={"type": "json_object"})
    assert world.desk.request.schema == '{"type":"object"}'
    client.chat.completions.create(**ASK, response_format={"type": "text"})
    assert world.desk.request.schema is None


def test_pictures_come_within_the_request(world: World, client: OpenAI) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG not really").decode()
    parts: Any = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "text", "text": "this?"},
    ]
    client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": parts}])
    message = (world.desk.request.messages or ())[0]
    assert message.content == "What is\nthis?"
    assert (message.images[0].data, message.images[0].media_type) == (b"\x89PNG not really", "image/png")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "file:///etc/passwd",
        "data:text/html;base64,AAAA",
        "data:image/png;base64,@",
    ],
)
def test_no_picture_is_fetched(client: OpenAI, url: str) -> None:
    parts: Any = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": parts}])
    assert refused.value.param == "messages[0].content[0].image_url.url"


def test_roles(world: World, client: OpenAI) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "a", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": "No."},
    ]
    client.chat.completions.create(model="tiny", messages=messages)
    told = [(message.role, message.content) for message in world.desk.request.messages or ()]
    assert told == [("system", "Be brief."), ("user", "a"), ("assistant", "No.")]


@pytest.mark.parametrize("how", ["header", "body"])
def test_only_trusted_workers_if_so_wanted(world: World, client: OpenAI, how: str) -> None:
    demand: Any = (
        {"extra_headers": {"X-Commonweal-Trusted": "true"}}
        if how == "header"
        else {"extra_body": {"commonweal": {"trusted": True}}}
    )
    raw = client.chat.completions.with_raw_response.create(**ASK, **demand)
    assert world.desk.asks[0].trusted
    assert raw.headers["x-commonweal-read-by"] == "trusted"


def test_a_wish_for_trust_that_is_not_understood_is_refused(world: World) -> None:
    reply = world.post("/v1/chat/completions", ASK, headers={"X-Commonweal-Trusted": "yes please"})
    assert reply.status_code == 400
    assert not world.desk.asks


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"model": None}, "model", "Invalid type for 'model': expected a string, but got null"),
    ({"messages": []}, "messages", "at least 1 item"),
    ({"messages": "hello"}, "messages", "expected an array, but got a string"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "'system'"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "Missing required parameter"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "expected a string"),
    ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type", "'image_url'"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "Missing"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "must have"),
    ({"messages": [{"role": "user", "content": "x", "shout": 1}]}, "messages[0].shout", "Unrecognized"),
    ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
    ({"temperature": "hot"}, "temperature", "expected a number, but got a string"),
    ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
    ({"n": 0}, "n", "greater than or equal to 1"),
    ({"n": 10**6}, "n", "less than or equal to 128"),
    ({"n": 1.5}, "n", "expected an integer, but got a number"),
    ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": -5}, "max_tokens", "greater than or equal to 1"),
    ({"max_completion_tokens": 10**12}, "max_completion_tokens", "less than or equal"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "maximum length 4"),
    ({"stop": [1]}, "stop[0]", "expected a string"),
    ({"seed": "7"}, "seed", "expected an integer"),
    ({"logit_bias": {"the": 1}}, "logit_bias", "token ids"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "between -100 and 100"),
    ({"frequency_penalty": 3}, "frequency_penalty", "less than or equal to 2"),
    ({"top_logprobs": 2}, "top_logprobs", "only allowed when 'logprobs'"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream'"),
    ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools'"),
    ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice", "'required'"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "not found"),
    ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name", "pattern"),
    ({"tools": [{"type": "function", "function": {"name": "auto"}}]}, "tools[0].function.name", "reserved"),
    ({"tools": [WEATHER, WEATHER]}, "tools", "same name"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "'json_object'"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
     "response_format.json_schema.schema", "Missing required parameter"),
    ({"response_format": "json"}, "response_format", "expected an object with a 'type'"),
    ({"functions": []}, "functions", "Unrecognized request argument supplied: functions"),
    ({"audio": {}}, "audio", "Unrecognized request argument supplied: audio"),
    ({"banana": 1}, "banana", "Unrecognized request argument supplied: banana"),
    ({"modalities": ["audio"]}, "modalities[0]", "'text'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param", "words"), REFUSED, ids=[str(r[0])[:60] for r in REFUSED])
def test_a_bad_request_names_the_field(
    world: World, change: dict[str, Any], param: str | None, words: str
) -> None:
    reply = world.post("/v1/chat/completions", ASK | change)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]
    assert not world.desk.asks


def test_no_model_at_all(world: World) -> None:
    reply = world.post("/v1/chat/completions", {"messages": ASK["messages"]})
    assert reply.json()["error"]["message"] == "Missing required parameter: 'model'."


def test_an_unknown_model_tells_the_near_names(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(**ASK | {"model": "tinny"})
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert "Did you mean tiny" in str(refused.value)


@pytest.mark.parametrize("name", ["secret", "a\0b", "../x", "x" * 300, "", "\ud7ff"])
def test_models_that_are_not_there_for_me(world: World, name: str) -> None:
    assert world.post("/v1/chat/completions", ASK | {"model": name}).status_code in (400, 404)
    assert not world.desk.asks


def test_my_own_model_is_there(world: World) -> None:
    assert world.post("/v1/chat/completions", ASK | {"model": "secret"}, name="bob").status_code == 200


FAILURES: list[tuple[Exception, int, str, str]] = [
    (CompletionFailed("too_long", "too many tokens"), 400, "invalid_request_error", "context_length_exceeded"),
    (CompletionFailed("bad_request", "no such schema"), 400, "invalid_request_error", "invalid_request"),
    (CompletionFailed("unsupported", "no pictures"), 400, "invalid_request_error", "unsupported"),
    (CompletionFailed("refused", "filtered"), 400, "invalid_request_error", "content_filter"),
    (CompletionFailed("rate_limited", "slow down"), 429, "rate_limit_error", "rate_limit_exceeded"),
    (CompletionFailed("server_error", "it broke"), 500, "server_error", "server_error"),
    (CompletionFailed("timeout", "too slow"), 504, "server_error", "timeout"),
    (CompletionFailed("unreachable", "the worker is lost"), 503, "server_error", "worker_lost"),
    (CompletionFailed("malformed", "nonsense"), 502, "server_error", "malformed_answer"),
    (CompletionFailed("budget", "spent"), 429, "insufficient_quota", "insufficient_quota"),
    (NotFound("the model 'tiny' does not exist"), 404, "invalid_request_error", "model_not_found"),
    (InsufficientCredits("no credits"), 429, "insufficient_quota", "insufficient_quota"),
    (Overloaded("busy", retry_after=2.5), 429, "rate_limit_error", "overloaded"),
    (Unavailable("nobody serves it"), 503, "server_error", "unavailable"),
    (RuntimeError("a secret of the hub"), 500, "server_error", "internal_error"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"), FAILURES, ids=[f"{e[3]}-{e[1]}" for e in FAILURES]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_desk_raises_before_anything_is_said(
    world: World, error: Exception, status: int, kind: str, code: str, stream: bool
) -> None:
    world.desk.script = raising(error)
    reply = world.post("/v1/chat/completions", ASK | {"stream": stream})
    told = reply.json()["error"]
    assert (reply.status_code, told["type"], told["code"]) == (status, kind, code)
    assert reply.headers["x-request-id"] == world.desk.asks[0].id
    assert "x-ratelimit-limit-requests" in reply.headers
    assert "secret" not in reply.text
    if code == "insufficient_quota":
        assert reply.headers["x-should-retry"] == "false"
    if code == "overloaded":
        assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("3", "2500")


def test_the_client_repeats_an_overload_but_no_empty_purse(world: World) -> None:
    client = world.client(max_retries=2)
    world.desk.script = raising(Overloaded("busy", retry_after=0.01))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ASK)
    assert len(world.desk.asks) == 3
    world.desk.script = raising(InsufficientCredits("no credits"))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ASK)
    assert len(world.desk.asks) == 4


def test_an_error_in_mid_stream_is_an_event(world: World, client: OpenAI) -> None:
    world.desk.script = raising(CompletionFailed("unreachable", "the worker was lost"), after=2)
    said: list[str | None] = []
    chunks = client.chat.completions.create(**ASK, stream=True)
    with pytest.raises(openai.APIError) as lost:
        said.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert said == ["Four", " legs"]
    assert (lost.value.code, lost.value.message) == ("worker_lost", "the worker was lost")
    world.desk.script = raising(RuntimeError("x"), after=1)
    assert world.post("/v1/chat/completions", ASK | {"stream": True}).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_that_ended_in_an_error_is_one(world: World, stream: bool) -> None:
    world.desk.script = lambda ask: says(ask, (), Ended(finish="error"))
    reply = world.post("/v1/chat/completions", ASK | {"stream": stream})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "server_error")
