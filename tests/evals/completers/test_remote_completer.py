from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from fake_openai import FakeOpenAI, Reply, Seen, answer, chat, completion, echoed, failing, stream

from commonweal.core.completion import Completion, CompletionFailed, Image, Message, Request, Tool, ToolCall
from commonweal.core.errors import ConfigError, Unavailable
from commonweal.evals.completers.remote import RemoteCompleter, RemoteOptions, remote
from commonweal.evals.completers.retrying import Retries
from commonweal.evals.completers.transport import HttpTransport

T = TypeVar("T")
ASK = Request(model="tiny", prompt="The sky is", max_tokens=5)
TALK = Request(model="tiny", messages=(Message(role="user", content="Hi"),), max_tokens=5)


class InventedClock:
    """Waits take no time; what was waited for is noted."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def elapsed(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def asked(
    server: FakeOpenAI,
    do: Callable[[RemoteCompleter], Awaitable[T]],
    *,
    options: RemoteOptions | None = None,
    clock: InventedClock | None = None,
    on_other_model: Callable[[str, str], None] | None = None,
) -> T:
    async def run() -> T:
        async with server:
            completer = RemoteCompleter(
                HttpTransport(server.url, {"authorization": "Bearer secret"}),
                model="tiny",
                options=options,
                clock=clock or InventedClock(),
                draw=lambda: 0.5,
                on_other_model=on_other_model,
            )
            try:
                return await do(completer)
            finally:
                await completer.close()

    return asyncio.run(run())


def one(server: FakeOpenAI, request: Request = ASK, **more: Any) -> Completion:
    return asked(server, lambda completer: completer.complete(request), **more)


def failure(server: FakeOpenAI, request: Request = ASK, **more: Any) -> CompletionFailed:
    with pytest.raises(CompletionFailed) as caught:
        one(server, request, **more)
    return caught.value


def test_a_completion_carries_text_usage_model_and_time() -> None:
    server = FakeOpenAI()
    made = one(server, Request(model="tiny", prompt="é\ud800", stop=("\n",), seed=3, sample=2, top_p=0.5))
    assert (made.text, made.model, made.prompt_tokens, made.completion_tokens) == (" blue", "tiny", 3, 1)
    assert made.attempts == 1
    assert server.seen[0].headers["authorization"] == "Bearer secret"
    assert server.seen[0].body == {
        "model": "tiny",
        "prompt": "é\ud800",
        "max_tokens": 100,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["\n"],
        "seed": 5,
    }


def test_a_chat_sends_images_tools_and_tool_results() -> None:
    server = FakeOpenAI(
        Reply(
            body=chat(
                None,
                finish="stop",
                tool_calls=[{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
            )
        )
    )
    call = ToolCall(id="c0", name="add", arguments='{"a":1}')
    request = Request(
        model="tiny",
        messages=(
            Message(role="user", content="What?", images=(Image(data=b"\x89PNG"),)),
            Message(role="assistant", content="", tool_calls=(call,)),
            Message(role="tool", content="2", tool_call_id="c0"),
        ),
        tools=(Tool(name="add", description="adds", parameters={"type": "object"}),),
        logprobs=50,
    )
    made = one(server, request)
    assert made.choices[0].tool_calls == (ToolCall(id="c1", name="add", arguments="{}"),)
    assert made.choices[0].finish == "tool_calls"
    body = server.seen[0].body
    assert body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "text", "text": "What?"},
    ]
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert body["messages"][2]["tool_call_id"] == "c0"
    assert body["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert body["top_logprobs"] == 20


def test_a_score_sums_the_continuation_alone() -> None:
    made = one(FakeOpenAI(), Request(model="tiny", kind="score", prompt="The sky", continuation=" is blue"))
    assert [token.text for token in made.choices[0].tokens] == [" is", " blue"]
    assert made.choices[0].logprob == -5.0
    assert made.choices[0].greedy is True


def test_a_token_that_straddles_the_boundary_is_scored() -> None:
    made = one(FakeOpenAI(), Request(model="tiny", kind="score", prompt="The sky ", continuation="is blue"))
    assert [token.text for token in made.choices[0].tokens] == [" is", " blue"]


def test_a_begin_token_that_counts_in_the_offsets_shifts_nothing() -> None:
    server = FakeOpenAI(Reply(body=echoed("The sky is", begin="<s>")))
    made = one(server, Request(model="tiny", kind="score", prompt="The sky", continuation=" is"))
    assert [(token.text, token.logprob) for token in made.choices[0].tokens] == [(" is", -3.0)]


def test_a_server_that_must_generate_one_token_is_asked_for_one() -> None:
    def handler(seen: Seen) -> Reply:
        if seen.body["max_tokens"] == 0:
            return failing(400, "max_tokens must be at least 1")
        return answer(seen)

    server = FakeOpenAI(handler=handler)
    request = Request(model="tiny", kind="score", prompt="The sky", continuation=" is blue")

    async def twice(completer: RemoteCompleter) -> tuple[Completion, Completion]:
        return await completer.complete(request), await completer.complete(request)

    first, second = asked(server, twice)
    assert first.choices[0].logprob == second.choices[0].logprob == -5.0
    assert first.attempts == 1
    assert [seen.body["max_tokens"] for seen in server.seen] == [0, 1, 1]


@pytest.mark.parametrize(
    "body",
    [completion(""), completion(" blue"), completion("The sky is", logprobs=None)],
    ids=["nothing", "no echo", "no log-probabilities"],
)
def test_a_server_that_cannot_score_is_found_out_once(body: dict[str, Any]) -> None:
    server = FakeOpenAI(Reply(body=body))
    request = Request(model="tiny", kind="score", prompt="The sky", continuation=" is")

    async def twice(completer: RemoteCompleter) -> bool | None:
        for _ in range(2):
            with pytest.raises(CompletionFailed, match="does not score") as caught:
                await completer.complete(request)
            assert caught.value.kind == "unsupported"
        return completer.abilities.score

    assert asked(server, twice) is False
    assert len(server.seen) == 1


def test_probe_finds_out_everything_in_three_requests() -> None:
    server = FakeOpenAI()

    async def probe(completer: RemoteCompleter) -> Any:
        await completer.probe()
        return await completer.probe()

    can = asked(server, probe)
    assert (can.score, can.logprobs, can.complete, can.chat, can.window) == (True, True, True, True, 512)
    assert server.paths == ["/v1/models", "/v1/completions", "/v1/chat/completions"]


def test_probe_of_a_chat_only_server() -> None:
    def handler(seen: Seen) -> Reply:
        if seen.path == "/v1/completions":
            return failing(404, "This is a chat model and not supported in the v1/completions endpoint.")
        if seen.path == "/v1/models":
            return Reply(status=404, body=b"<html>nothing here</html>")
        return Reply(body=chat())

    async def probe(completer: RemoteCompleter) -> Any:
        can = await completer.probe()
        with pytest.raises(CompletionFailed, match="no completions"):
            await completer.complete(ASK)
        return can

    can = asked(FakeOpenAI(handler=handler), probe)
    assert (can.score, can.logprobs, can.complete, can.chat, can.window) == (False, False, False, True, None)


def test_probe_of_a_completion_only_server() -> None:
    def handler(seen: Seen) -> Reply:
        return Reply(status=404, body={"detail": "Not Found"}) if "chat" in seen.path else answer(seen)

    async def probe(completer: RemoteCompleter) -> Any:
        can = await completer.probe()
        with pytest.raises(CompletionFailed, match="no chat"):
            await completer.complete(TALK)
        return can

    assert asked(FakeOpenAI(handler=handler), probe).chat is False


def test_probe_of_a_server_that_is_no_such_server_says_so() -> None:
    server = FakeOpenAI(handler=lambda seen: Reply(status=404, body=b"nope"))
    with pytest.raises(CompletionFailed, match="neither completions nor a chat") as caught:
        asked(server, lambda completer: completer.probe())
    assert "/v1" in str(caught.value)


def test_a_server_that_breaks_on_scoring_is_asked_for_text() -> None:
    """transformers' own server answers 500 to a request for no new tokens."""

    def handler(seen: Seen) -> Reply:
        broken = seen.path == "/v1/models" or seen.body.get("echo")
        return Reply(status=500, body=b"Internal Server Error") if broken else answer(seen)

    can = asked(FakeOpenAI(handler=handler), lambda completer: completer.probe())
    assert (can.score, can.complete, can.chat) == (False, True, True)


def test_a_server_that_breaks_on_everything_is_ill() -> None:
    server = FakeOpenAI(handler=lambda seen: Reply(status=500, body=b"no memory left"))
    with pytest.raises(CompletionFailed, match="no memory left") as caught:
        asked(server, lambda completer: completer.probe())
    assert caught.value.kind == "server_error"
    assert len(server.seen) <= 13


def test_probe_without_the_key_fails_at_once() -> None:
    server = FakeOpenAI(handler=lambda seen: failing(401, "bad key"))
    with pytest.raises(CompletionFailed, match="bad key") as caught:
        asked(server, lambda completer: completer.probe())
    assert caught.value.kind == "not_authorized"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (failing(400, "bad temperature"), "bad_request"),
        (failing(401, "no key"), "not_authorized"),
        (failing(403, "not yours"), "not_authorized"),
        (failing(404, "The model `x` does not exist.", "model_not_found"), "bad_request"),
        (failing(404, "Not Found"), "unsupported"),
        (failing(413, "big"), "too_long"),
        (failing(422, "field required"), "bad_request"),
        (failing(400, "This model's maximum context length is 2048 tokens."), "too_long"),
        (failing(400, "the request exceeds the available context size, try increasing it"), "too_long"),
        (failing(400, "blocked", "content_filter"), "refused"),
        (failing(429, "pay", "insufficient_quota"), "budget"),
        (failing(500, "no use", x_should_retry="false"), "server_error"),
        (Reply(status=307, body=b"", headers={"location": "https://there/v1"}), "bad_request"),
    ],
)
def test_what_the_server_refuses_for_good_is_asked_once(reply: Reply, kind: str) -> None:
    server = FakeOpenAI(reply)
    clock = InventedClock()
    failed = failure(server, clock=clock)
    assert (failed.kind, failed.attempts, len(server.seen), clock.waits) == (kind, 1, 1, [])


@pytest.mark.parametrize(
    "reply",
    [
        failing(429, "slow down"),
        failing(500, "oops"),
        failing(503, "starting"),
        failing(400, "try again", x_should_retry="true"),
        Reply(raw=[b""], hang_up=True),
        Reply(raw=[b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"], hang_up=True),
        Reply(raw=[b"\x16\x03\x01 what is this\r\n\r\n"]),
        Reply(body=b'{"choices": ['),
        Reply(body=b"[" * 100_000),
        Reply(body={"choices": []}),
        Reply(body={"choices": None}),
        Reply(body={"choices": [{"text": None}]}),
        Reply(body=[1, 2]),
        Reply(body=b"\xff\xfe\xfa"),
        Reply(body={"error": {"message": "overloaded", "code": 529}}),
    ],
)
def test_what_may_pass_is_asked_again(reply: Reply) -> None:
    clock = InventedClock()
    made = one(FakeOpenAI(reply), clock=clock)
    assert (made.text, made.attempts) == (" blue", 2)
    assert clock.waits == [0.25]


def test_retries_end() -> None:
    clock = InventedClock()
    server = FakeOpenAI(handler=lambda seen: failing(500, "oops"))
    failed = failure(server, clock=clock, options=RemoteOptions(retries=Retries(attempts=4, first=1.0)))
    assert (failed.kind, failed.attempts, len(server.seen)) == ("server_error", 4, 4)
    assert clock.waits == [0.5, 1.0, 2.0]
    assert "oops" in failed.message


def test_malformed_answers_are_borne_a_little() -> None:
    server = FakeOpenAI(handler=lambda seen: Reply(body={"choices": []}))
    failed = failure(server)
    assert (failed.kind, failed.attempts, len(server.seen)) == ("malformed", 3, 3)


def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    clock = InventedClock()
    clock.time = 100.0
    date = "Thu, 01 Jan 1970 00:03:00 GMT"
    server = FakeOpenAI(failing(429, "a", retry_after="7"), failing(429, "b", retry_after=date))
    assert one(server, clock=clock).attempts == 3
    assert clock.waits[0] == pytest.approx(7 * 1.05 + 0.05)
    assert clock.waits[1] == pytest.approx((80 - clock.waits[0]) * 1.05 + 0.05)


def test_a_server_that_wants_an_hour_of_peace_is_not_waited_for() -> None:
    clock = InventedClock()
    failed = failure(FakeOpenAI(failing(429, "later", retry_after="3600")), clock=clock)
    assert (failed.kind, clock.waits) == ("rate_limited", [])
    assert "3600 seconds" in str(failed)


def test_a_slow_server_times_out() -> None:
    server = FakeOpenAI(handler=lambda seen: Reply(hold=True))
    options = RemoteOptions(timeout=0.05, retries=Retries(attempts=2))
    failed = failure(server, options=options)
    assert (failed.kind, failed.attempts) == ("timeout", 2)


def test_a_server_that_is_down_is_unreachable() -> None:
    async def run() -> None:
        async with FakeOpenAI() as server:
            url = server.url
        completer = remote(url, model="tiny", options=RemoteOptions(retries=Retries(attempts=2, first=0.0)))
        with pytest.raises(CompletionFailed) as caught:
            await completer.complete(ASK)
        assert (caught.value.kind, caught.value.attempts) == ("unreachable", 2)
        with pytest.raises(Unavailable, match="is the server running"):
            await completer.models()

    asyncio.run(run())


def test_a_content_filter_without_text_is_a_refusal() -> None:
    assert failure(FakeOpenAI(Reply(body=completion("", finish="content_filter")))).kind == "refused"
    kept = one(FakeOpenAI(Reply(body=completion("half", finish="content_filter"))))
    assert (kept.text, kept.choices[0].finish) == ("half", "content_filter")


def test_stop_strings_are_cut_by_us_as_well() -> None:
    logprobs = {"tokens": ["a", "b", "\n", "c"], "token_logprobs": [-1.0, -2.0, -4.0, -8.0]}
    server = FakeOpenAI(Reply(body=completion("ab\nc", logprobs=logprobs, finish="length")))
    made = one(server, Request(model="tiny", prompt="x", stop=("\n",), logprobs=0))
    assert (made.text, made.choices[0].finish, made.choices[0].logprob) == ("ab", "stop", -3.0)


@pytest.mark.parametrize("number", ["NaN", "1.5", '"x"'])
def test_a_log_probability_that_is_none_is_malformed(number: str) -> None:
    body = json.dumps(completion("a", logprobs={"tokens": ["a"], "token_logprobs": [0]})).replace(
        "[0]", f"[{number}]"
    )
    server = FakeOpenAI(handler=lambda seen: Reply(body=body.encode()))
    assert failure(server, Request(model="tiny", prompt="x", logprobs=0)).kind == "malformed"


def test_minus_infinity_is_bounded() -> None:
    body = json.dumps(completion("a", logprobs={"tokens": ["a"], "token_logprobs": [0]})).replace(
        "[0]", "[-Infinity]"
    )
    made = one(FakeOpenAI(Reply(body=body.encode())), Request(model="tiny", prompt="x", logprobs=0))
    assert made.choices[0].logprob == -9999.0


def test_a_server_that_tells_no_log_probabilities_is_known_so() -> None:
    async def go(completer: RemoteCompleter) -> bool | None:
        made = await completer.complete(Request(model="tiny", prompt="x", logprobs=1))
        assert (made.text, made.choices[0].tokens, made.choices[0].logprob) == (" blue", (), None)
        return completer.abilities.logprobs

    assert asked(FakeOpenAI(Reply(body=completion())), go) is False


def test_another_model_is_reported_once() -> None:
    names: list[tuple[str, str]] = []
    server = FakeOpenAI(handler=lambda seen: Reply(body=completion(model="other")))

    async def twice(completer: RemoteCompleter) -> str:
        await completer.complete(ASK)
        return (await completer.complete(ASK)).model

    assert asked(server, twice, on_other_model=lambda *both: names.append(both)) == "other"
    assert names == [("tiny", "other")]


def test_missing_choices_are_asked_for() -> None:
    server = FakeOpenAI()
    made = one(server, Request(model="tiny", prompt="x", n=3, temperature=1.0, seed=10))
    assert len(made.choices) == 3
    assert [seen.body.get("n", 1) for seen in server.seen] == [3, 2, 1]
    assert [seen.body["seed"] for seen in server.seen] == [10, 11, 12]
    assert (made.completion_tokens, made.attempts) == (3, 3)


def test_parameters_that_a_server_does_not_know_are_left_out() -> None:
    def handler(seen: Seen) -> Reply:
        for name in ("max_tokens", "stop", "seed"):
            if name in seen.body:
                hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                return failing(400, f"Unsupported parameter: '{name}' is not supported.{hint}")
        return Reply(body=chat("yes\nno"))

    server = FakeOpenAI(handler=handler)
    request = Request(model="tiny", messages=TALK.messages, max_tokens=5, stop=("\n",), seed=1)
    made = one(server, request)
    assert (made.text, made.attempts, len(server.seen)) == ("yes", 1, 4)
    assert server.seen[-1].body["max_completion_tokens"] == 5


def test_the_temperature_is_never_left_out() -> None:
    server = FakeOpenAI(failing(400, "Unsupported value: 'temperature' does not support 0."))
    assert failure(server, TALK).kind == "bad_request"
    assert len(server.seen) == 1


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"model": "tiny", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


STREAM = RemoteOptions(stream=True)


def test_streaming_can_be_switched_on_and_off_between_runs() -> None:
    async def in_turn(completer: RemoteCompleter) -> None:
        for on in (False, True, False):
            completer.stream_answers(on)
            await completer.complete(ASK)

    server = FakeOpenAI()
    asked(server, in_turn)
    assert [bool(seen.body.get("stream")) for seen in server.seen] == [False, True, False]
    always = FakeOpenAI()
    asked(always, in_turn, options=STREAM)
    assert [bool(seen.body.get("stream")) for seen in always.seen] == [True] * 3


def test_a_server_that_cannot_stream_is_asked_without() -> None:
    server = FakeOpenAI(failing(400, "Streaming is not supported by this model"))
    made = one(server, options=STREAM)
    assert (made.text, made.timing.first_token, made.attempts) == (" blue", None, 1)
    assert [bool(seen.body.get("stream")) for seen in server.seen] == [True, False]


def test_a_stream_is_put_together_and_timed() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    server = FakeOpenAI(stream(role, delta("Hel"), delta("lo", "stop"), usage))
    made = one(server, TALK, options=STREAM)
    assert (made.text, made.prompt_tokens, made.completion_tokens) == ("Hello", 4, 2)
    assert made.timing.first_token is not None
    assert made.timing.first_token > 0
    assert server.seen[0].body["stream_options"] == {"include_usage": True}


def test_a_streamed_tool_call_and_several_choices() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        calls = [{"index": 0, "id": "c" if "name" in function else None, "function": function}]
        return {"choices": [{"index": index, "delta": {"tool_calls": calls}}]}

    end = {"choices": [{"index": i, "delta": {}, "finish_reason": "tool_calls"} for i in (0, 1)]}
    server = FakeOpenAI(stream(call(0, name="add"), call(1, name="sub"), call(0, arguments="{}"), end))
    made = one(server, TALK, options=STREAM)
    assert [choice.tool_calls[0] for choice in made.choices] == [
        ToolCall(id="c", name="add", arguments="{}"),
        ToolCall(id="c", name="sub", arguments=""),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        stream("{not json"),
        stream(delta("half"), done=False),
        stream(delta("x"), {"error": {"message": "broke"}}),
        stream([1]),
        stream(),
        Reply(
            raw=[b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: \xff\xff\n\n"],
            hang_up=True,
        ),
        Reply(
            raw=[
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
            ]
        ),
    ],
)
def test_a_garbage_stream_is_malformed(reply: Reply) -> None:
    failed = failure(FakeOpenAI(handler=lambda seen: reply), TALK, options=STREAM)
    assert (failed.kind, failed.attempts) == ("malformed", 3)


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    made = one(FakeOpenAI(), options=STREAM)
    assert (made.text, made.timing.first_token) == (" blue", None)


def test_one_bad_request_does_not_hold_up_the_others() -> None:
    def handler(seen: Seen) -> Reply:
        return failing(400, "no") if seen.body["prompt"] == "7" else Reply(body=completion())

    async def go(completer: RemoteCompleter) -> list[Any]:
        asks = [Request(model="tiny", prompt=str(i)) for i in range(100)]
        return await asyncio.gather(*(completer.complete(ask) for ask in asks), return_exceptions=True)

    clock = InventedClock()
    server = FakeOpenAI(handler=handler)
    made = asked(server, go, clock=clock, options=RemoteOptions(concurrency=8))
    assert [i for i, outcome in enumerate(made) if isinstance(outcome, CompletionFailed)] == [7]
    assert clock.waits == []
    assert server.most_active <= 8
    assert server.connections <= 8


def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    async def go(completer: RemoteCompleter) -> list[int]:
        return [(await completer.complete(ASK)).attempts for _ in range(3)]

    server = FakeOpenAI(Reply(body=completion(), hang_up=True), Reply(body=completion()))
    assert asked(server, go) == [1, 1, 1]
    assert server.connections == 2


def test_a_cancelled_request_leaves_no_answer_for_the_next() -> None:
    def handler(seen: Seen) -> Reply:
        return Reply(hold=True) if seen.body["prompt"] == "slow" else Reply(body=completion("quick"))

    async def go(completer: RemoteCompleter) -> str:
        slow = asyncio.create_task(completer.complete(Request(model="tiny", prompt="slow")))
        await server.asked.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert completer.gate.active == 0
        return (await completer.complete(ASK)).text

    server = FakeOpenAI(handler=handler)
    assert asked(server, go, options=RemoteOptions(concurrency=1)) == "quick"


def test_interim_answers_and_answers_without_a_length_are_read() -> None:
    body = json.dumps(completion()).encode()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    assert one(FakeOpenAI(Reply(raw=[interim]))).text == " blue"
    to_the_end = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body
    assert one(FakeOpenAI(Reply(raw=[to_the_end], hang_up=True))).text == " blue"


@pytest.mark.parametrize("url", ["ftp://x/v1", "http:///v1", "http://host:99999/v1", "http://a b/v1"])
def test_a_url_that_is_none_is_the_users_mistake(url: str) -> None:
    with pytest.raises(ConfigError):
        remote(url, model="m")


def test_a_key_with_a_line_break_is_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match="authorization"):
        remote("http://127.0.0.1:1/v1", model="m", key="abc\ndef")


def test_whether_a_server_takes_tools_is_found_out_by_asking() -> None:
    def refuses(seen: Seen) -> Reply:
        return failing(400, "tools are not supported") if "tools" in seen.body else answer(seen)

    def only_completes(seen: Seen) -> Reply:
        return failing(404) if "chat" in seen.path else answer(seen)

    async def tools(completer: RemoteCompleter) -> bool | None:
        await completer.probe()
        return (await completer.probe_tools()).tools

    assert asked(FakeOpenAI(), tools) is True
    assert asked(FakeOpenAI(handler=refuses), tools) is False
    assert asked(FakeOpenAI(handler=only_completes), tools) is None
