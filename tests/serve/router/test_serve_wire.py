"""The frames between hub and member: what is written is read as it was, and nothing that a stranger wrote gets by."""

from __future__ import annotations

import math
import string
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Image, Message, Request, Token, Tool, ToolCall
from commonweal.core.errors import InvalidContribution
from commonweal.core.hashing import content_hash
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector
from commonweal.serve.bus import Parcels, packed
from commonweal.serve.gateway.frames import (
    LARGEST,
    AskFrame,
    Cancel,
    Done,
    Events,
    Failure,
    Frame,
    Goodbye,
    Held,
    Hello,
    Leave,
    Load,
    Loaded,
    ModelSpec,
    Ping,
    Speed,
    State,
    Unload,
    Unloaded,
    Welcome,
    decode_hub,
    decode_member,
    encode,
)
from commonweal.serve.gateway.plain import event_json, read_event, read_request, request_json

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.floats(-1e6, 0.0).map(lambda value: round(value, 6))
identities = words.map(lambda word: content_hash(word.encode()))
names = st.text(string.ascii_letters, min_size=1, max_size=20)
tokens = st.builds(
    Token,
    text=words,
    id=st.none() | st.integers(0, 2**31),
    logprob=st.none() | numbers,
    top=st.dictionaries(words, numbers, max_size=3),
)
calls = st.builds(ToolCall, id=names, name=names, arguments=words)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Piece, index=st.integers(0, 8), text=words, tokens=st.lists(tokens, max_size=4).map(tuple)),
    st.builds(
        Ended,
        index=st.integers(0, 8),
        finish=st.sampled_from(["stop", "length", "tool_calls"]),
        tool_calls=st.lists(calls, max_size=2).map(tuple),
        greedy=st.none() | st.booleans(),
    ),
    st.builds(Vector, values=st.lists(st.floats(-10, 10), max_size=8).map(tuple)),
    st.builds(
        Usage,
        prompt_tokens=st.integers(0, 10**6),
        completion_tokens=st.integers(0, 10**6),
        cached_tokens=st.integers(0, 10**6),
        seconds=st.floats(0, 1000),
    ),
)
said = st.one_of(
    events,
    st.just(Done()),
    st.builds(Failure, kind=st.sampled_from(["too_long", "handed_back"]), message=words),
)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=words,
    images=st.lists(st.builds(Image, data=st.binary(max_size=10)), max_size=1).map(tuple),
    tool_calls=st.lists(calls, max_size=1).map(tuple),
    tool_call_id=st.none() | words,
)
requests = st.builds(
    Request,
    model=names,
    kind=st.sampled_from(["generate", "score", "embed"]),
    prompt=st.none() | words,
    continuation=words,
    max_tokens=st.integers(0, 10**6),
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    n=st.integers(1, 8),
    stop=st.lists(words, max_size=3).map(tuple),
    seed=st.none() | st.integers(-(2**63), 2**64 - 1),
    logprobs=st.none() | st.integers(0, 20),
    tools=st.lists(
        st.builds(Tool, name=names, description=words, parameters=st.just({"type": "object"})), max_size=2
    ).map(tuple),
    schema=st.none() | words,
    tool_choice=names,
    penalties=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    bias=st.lists(st.tuples(st.integers(0, 10**6), st.floats(-100, 100)), max_size=3).map(tuple),
    ids=st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
)
states = st.builds(
    State,
    models=st.dictionaries(names, identities, max_size=3),
    held=st.dictionaries(
        identities, st.builds(Held, size=st.integers(0, 10**12), idle=st.floats(0, 1e6)), max_size=2
    ),
    loading=st.lists(identities, max_size=2).map(tuple),
    running=st.integers(0, 100),
    free=st.integers(0, 10**12),
    speeds=st.dictionaries(
        identities, st.builds(Speed, tokens=st.floats(0, 1e5), first=st.floats(0, 100)), max_size=2
    ),
)
plain_specs = st.builds(
    ModelSpec,
    name=names,
    identity=identities,
    kind=st.sampled_from(["full", "adapter"]),
    files=st.dictionaries(names, identities, max_size=3),
    quantization=st.just("none"),
    parameters=st.integers(0, 10**12),
    window=st.integers(0, 10**6),
)
specs = st.builds(
    ModelSpec,
    name=names,
    identity=identities,
    kind=st.just("adapter"),
    files=st.dictionaries(names, identities, max_size=3),
    quantization=st.just("none"),
    parameters=st.integers(0, 10**12),
    window=st.integers(0, 10**6),
    base=st.none() | plain_specs,
)
from_member = st.one_of(
    st.builds(
        Hello,
        engine=names,
        slots=st.integers(1, 100),
        memory=st.integers(0, 10**12),
        loads=st.booleans(),
        state=states,
    ),
    st.lists(st.tuples(st.integers(0, 100), st.lists(said, max_size=3)), max_size=3).map(
        lambda asks: Events(asks=asks)
    ),
    st.builds(Ping, state=states),
    st.builds(Loaded, identity=identities, problem=words),
    st.builds(Unloaded, identity=identities),
    st.just(Leave()),
)
from_hub = st.one_of(
    st.builds(Welcome, hub=names),
    st.builds(AskFrame, number=st.integers(0, 10**6), identity=identities, request=requests),
    st.builds(Cancel, number=st.integers(0, 10**6)),
    st.builds(Load, model=specs),
    st.builds(Unload, identity=identities),
    st.builds(Goodbye, reason=words, final=st.booleans()),
)


@given(from_member)
def test_what_a_member_says_is_heard_as_it_was_said(frame: Frame) -> None:
    assert decode_member(encode(frame)) == frame


@given(from_hub)
def test_what_a_hub_says_is_heard_as_it_was_said(frame: Frame) -> None:
    heard = decode_hub(encode(frame))
    if isinstance(frame, AskFrame) and frame.request.prompt is None:
        return  # neither prompt nor messages: not a request, and read as an empty prompt
    assert heard == frame


@given(st.lists(messages, max_size=3))
def test_chats_pass(chat: list[Message]) -> None:
    request = Request(model="m", messages=tuple(chat))
    assert read_request(orjson.loads(orjson.dumps(request_json(request))), "m") == request


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["hello", "ev", "ping", "loaded", "unloaded", "leave", "ask", "load", "welcome", "bye"]
)
fields = st.sampled_from(
    [
        "a",
        "models",
        "speeds",
        "held",
        "i",
        "p",
        "slots",
        "v",
        "engine",
        "memory",
        "n",
        "m",
        "r",
        "loading",
        "free",
    ]
)


@given(kinds, st.dictionaries(fields, json, max_size=6))
def test_nonsense_is_refused_or_read_and_never_breaks(kind: str, body: dict[str, Any]) -> None:
    import json as plain

    data = plain.dumps({"t": kind, **body}).encode()
    for decode in (decode_member, decode_hub):
        with suppress(InvalidContribution):
            decode(data)


@given(json)
def test_events_of_any_form_are_refused_or_read(raw: Any) -> None:
    for name in ("p", "e", "v", "u"):
        try:
            event = read_event([name, *raw] if isinstance(raw, list) else raw)
        except InvalidContribution:
            continue
        assert read_event(orjson.loads(orjson.dumps(event_json(event)))) == event


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"t":"ev","a":[[1]]}',
        b'{"t":"ev","a":[[1,[["p",0,"x",[[1,"a",NaN]]]]]]}',
        b'{"t":"ev","a":[[1,[["p",0,"x",[[1,"a",1.5]]]]]]}',
        b'{"t":"ev","a":[[-1,[["d"]]]]}',
        b'{"t":"ev","a":[[1,[["f","nonsense",""]]]]}',
        b'{"t":"hello","v":99}',
        b'{"t":"loaded","i":"../../etc/passwd"}',
        b'{"t":"ping","models":{"../x":"' + b"0" * 64 + b'"}}',
        b"x" * (LARGEST + 1),
        b"[" * 100_000,
    ],
)
def test_known_tricks_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidContribution):
        decode_member(data)


def test_files_have_plain_names() -> None:
    spec = ModelSpec(
        name="m",
        identity="0" * 64,
        kind="full",
        files={"../../.bashrc": content_hash(b"")},
        quantization="none",
        parameters=1,
        window=1,
    )
    with pytest.raises(InvalidContribution, match="name of a model's file"):
        decode_hub(encode(Load(model=spec)))


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=5), st.integers(1, 100))
def test_messages_of_the_bus_fit_into_notifications(texts: list[str], serial: int) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    parts = packed("hub-a", [orjson.dumps({"text": text}) for text in texts], serial)
    assert all(len(part.encode()) <= 8000 and "\0" not in part for part in parts)
    assert len(set(parts)) == len(parts)
    parcels = Parcels()
    heard = [message for part in parts for message in parcels.opened(7, part)]
    assert heard == [("hub-a", {"text": text}) for text in texts]


def test_a_part_that_was_missed_loses_its_parcel_only() -> None:
    big = packed("a", [orjson.dumps("x" * 20_000)], 1)
    small = packed("a", [orjson.dumps("y")], 2)
    parcels = Parcels()
    assert len(big) == 3
    assert [m for part in (big[0], big[2], *small) for m in parcels.opened(1, part)] == [("a", "y")]
    assert parcels.opened(1, "nonsense") == []


def test_log_probabilities_are_rounded_to_what_they_mean() -> None:
    piece = Piece(text="a", tokens=(Token(text="a", id=1, logprob=-math.pi),))
    assert event_json(piece)[3][0][2] == -3.141593
