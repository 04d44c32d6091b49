from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from fake_openai import echoed
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Completion, Message, Request, Timing
from commonweal.evals.completers.answers import Malformed, NoLogprobs, completion_from, cut_at_stop
from commonweal.evals.completers.bodies import body_of
from commonweal.evals.completers.dialect import Dialect, learned
from commonweal.evals.completers.streams import events, joined

CHAT = Request(model="m", messages=(Message(role="user", content="Hi"),), logprobs=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def read(payload: Any, request: Request) -> Completion:
    return completion_from(payload, request, Timing(), 1)


def score(prompt: str, continuation: str) -> Request:
    return Request(model="m", kind="score", prompt=prompt, continuation=continuation)


@given(
    before=st.lists(st.sampled_from(["a", "bc", "d"]), min_size=1),
    cut=st.integers(0, 40),
    extra=st.integers(0, 2),
)
def test_a_score_takes_the_tokens_that_reach_into_the_continuation(
    before: list[str], cut: int, extra: int
) -> None:
    text = " ".join(before) + " end"
    cut = min(cut, len(text) - 1)
    made = read(echoed(text, extra=extra), score(text[:cut], text[cut:])).choices[0]
    joined_text = "".join(token.text for token in made.tokens)
    assert joined_text.endswith(text[cut:])
    assert text.endswith(joined_text)
    assert len(joined_text) - len(text[cut:]) < 4  # no more than the one token that straddles


def test_offsets_that_a_server_leaves_out_are_counted() -> None:
    payload = echoed("The sky is blue")
    del payload["choices"][0]["logprobs"]["text_offset"]
    assert read(payload, score("The sky is", " blue")).choices[0].logprob == -3.0


def test_a_token_of_half_a_character_is_scored() -> None:
    payload = echoed("a b")
    payload["choices"][0]["text"] = "a é"
    payload["choices"][0]["logprobs"] = {
        "tokens": ["a", " ", "bytes:\\xc3", "bytes:\\xa9"],
        "token_logprobs": [None, -1.0, -2.0, -4.0],
        "text_offset": [0, 1, 2, 2],
    }
    payload["usage"] = {}
    assert read(payload, score("a ", "é")).choices[0].logprob == -6.0


@pytest.mark.parametrize(
    "change",
    [
        {"text_offset": [0, 1]},
        {"text_offset": [4, 3, 2, 1]},
        {"token_logprobs": [-1.0]},
        {"top_logprobs": [{}]},
        {"tokens": 7},
        {"token_logprobs": [None, "x", -1.0, -1.0]},
    ],
)
def test_log_probabilities_that_do_not_fit_are_malformed(change: dict[str, Any]) -> None:
    payload = echoed("The sky is blue")
    payload["choices"][0]["logprobs"].update(change)
    with pytest.raises(Malformed):
        read(payload, score("The sky is", " blue"))


def test_greedy_is_false_where_another_token_was_likelier() -> None:
    payload = echoed("The sky is blue")
    payload["choices"][0]["logprobs"]["top_logprobs"][3] = {" green": -0.1}
    assert read(payload, score("The sky is", " blue")).choices[0].greedy is False


@given(JSON, st.sampled_from([Request(model="m", prompt="x", logprobs=1), CHAT, score("a", " b")]))
def test_any_json_is_a_completion_or_malformed(payload: Any, request: Request) -> None:
    for value in (
        payload,
        {"choices": payload},
        {"choices": [payload]},
        {"choices": [{"text": "a b", "logprobs": payload}]},
    ):
        with contextlib.suppress(Malformed, NoLogprobs):
            read(value, request)


@given(
    st.text(alphabet="ab\n.", max_size=30),
    st.lists(st.text(alphabet="ab\n.", min_size=1, max_size=3), max_size=4),
)
def test_cut_at_stop_is_the_earliest(text: str, stops: list[str]) -> None:
    end = cut_at_stop(text, stops)
    assert not any(stop in text[:end] for stop in stops)
    assert end == len(text) or any(text.startswith(stop, end) for stop in stops)


def test_a_refusal_is_the_text() -> None:
    choice = {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}
    assert read({"choices": [choice]}, CHAT).text == "No."


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)),
    st.data(),
)
def test_a_stream_reads_alike_however_it_is_cut(texts: list[str], data: st.DataObject) -> None:
    whole = "".join(f": comment\ndata: {text}\r\n\r\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    bounds = [0, *cuts, len(whole)]
    pieces = [(float(i), whole[a:b]) for i, (a, b) in enumerate(itertools.pairwise(bounds))]
    assert [text for _, text in events(pieces)] == texts


@given(st.binary(max_size=200))
def test_any_bytes_are_a_stream_or_malformed(data: bytes) -> None:
    for piece in (data, b"data: " + data + b"\n\n", b'data: {"choices": ' + data + b"}\n\ndata: [DONE]\n\n"):
        with contextlib.suppress(Malformed):
            joined([(0.0, piece)])


@given(JSON)
def test_any_event_is_a_stream_or_malformed(value: Any) -> None:
    for event in (
        value,
        {"choices": value},
        {"choices": [value]},
        {"choices": [{"index": 0, "delta": value}]},
    ):
        data = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()
        with contextlib.suppress(Malformed):
            read(joined([(0.0, data)]).payload, CHAT)


def test_first_token_is_the_first_that_carries_something() -> None:
    def event(**delta: Any) -> bytes:
        return f"data: {json.dumps({'choices': [{'index': 0, **delta}]})}\n\n".encode()

    made = joined(
        [
            (0.1, event(delta={"role": "assistant", "content": ""})),
            (0.2, event(delta={"content": "a"})),
            (0.3, event(delta={"content": "b"}, finish_reason="stop")),
        ]
    )
    assert made.first_token == 0.2
    assert made.payload["choices"][0]["message"]["content"] == "ab"


def test_streamed_log_probabilities_are_joined() -> None:
    def event(text: str, logprob: float) -> str:
        tokens = {"tokens": [text], "token_logprobs": [logprob], "text_offset": [0]}
        return "data: " + json.dumps({"choices": [{"index": 0, "text": text, "logprobs": tokens}]}) + "\n\n"

    whole = event("a", -1.0) + event("b", -2.0) + "data: [DONE]\n\n"
    made = joined([(0.0, whole.encode())])
    assert read(made.payload, Request(model="m", prompt="x", logprobs=0)).choices[0].logprob == -3.0


def test_a_dialect_is_learned_once_and_never_about_the_temperature() -> None:
    said = "400: Unsupported parameter: 'stop' is not supported with this model."
    new = learned(Dialect(), said)
    assert new == Dialect(stops=0)
    assert new is not None
    assert learned(new, said) is None
    assert learned(Dialect(), "400: temperature is not supported") is None
    assert learned(Dialect(), "400: only one completion choice is supported", several=True) == Dialect(
        n=False
    )
    assert learned(Dialect(), "400: only one completion choice is supported") is None


def test_a_dialect_changes_the_body() -> None:
    request = Request(model="m", messages=CHAT.messages, n=2, stop=("x",), seed=1)
    plain = json.loads(body_of(request, Dialect(), stream=True))
    assert (plain["n"], plain["stop"], plain["seed"], plain["max_tokens"]) == (2, ["x"], 1, 100)
    bare = Dialect(limit="max_completion_tokens", stops=0, seed=False, n=False, usage=False)
    made = json.loads(body_of(request, bare, stream=True))
    assert set(plain) - set(made) == {"n", "stop", "seed", "max_tokens", "stream_options"}
    assert made["max_completion_tokens"] == 100
