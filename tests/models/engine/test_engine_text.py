"""Text as it is spelled, stopped and held back; calls of tools in it. Without a model."""

from __future__ import annotations

import json
import random

import pytest
from engine_models import save_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from commonweal.core.completion import Token, Tool
from commonweal.core.streaming import Ended, Piece
from commonweal.models.engine.calls import CallText, call_schema
from commonweal.models.engine.spelling import Speller
from commonweal.models.engine.stops import StopStrings
from commonweal.models.engine.writing import Writing

TOOLS = (
    Tool(name="weather", description="", parameters={"type": "object", "properties": {"city": {"type": "string"}}}),
    Tool(name="clock", description="", parameters={}),
)  # fmt: skip


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


@pytest.fixture(scope="module")
def fallback() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: pieces with their spaces, and bytes for what is in no piece."""
    pieces = ["<unk>", "<s>", "▁", "a", "b", "▁the", "sea", *[f"<0x{byte:02X}>" for byte in range(256)]]
    backend = Tokenizer(
        models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], byte_fallback=True)
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


def spelled(speller: Speller, ids: list[int]) -> tuple[str, list[str]]:
    spelling = speller.spelling()
    pieces = [spelling.add(token) for token in ids]
    return "".join(pieces) + spelling.end(), pieces


@pytest.mark.parametrize("text", ["plain text", "naïve – 漢字 🙂🙃 done", "🙂", "  two  spaces\n\n"])
def test_characters_come_whole(text: str, bytewise: PreTrainedTokenizerFast) -> None:
    whole, pieces = spelled(Speller(bytewise), bytewise.encode(text))
    assert whole == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_pieces_of_bytes_come_whole_where_bytes_are_tokens(fallback: PreTrainedTokenizerFast) -> None:
    ids = [5, 2, 6, *[7 + byte for byte in " 漢🙂".encode()], 3, 5]
    whole, pieces = spelled(Speller(fallback), ids)
    assert whole == " the sea 漢🙂a the"
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("name", ["bytewise", "fallback"])
def test_bytes_that_are_no_text_are_shown_as_such_and_hold_nothing_up(
    name: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name)
    speller, rng = Speller(tokenizer), random.Random(3)
    size = len(tokenizer)
    for _ in range(20):
        ids = [rng.randrange(3, size) for _ in range(60)]
        whole, pieces = spelled(speller, ids)
        if name == "bytewise":
            expected = tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)
            assert whole.replace("\ufffd", "") == expected.replace("\ufffd", "")
        held = 0
        for piece in pieces:
            held = 0 if piece else held + 1
            assert held < 5


@given(
    st.text("abEND ", max_size=40),
    st.lists(st.text("abEND", min_size=1, max_size=4), max_size=3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_a_text_in_pieces_stops_where_the_whole_would(
    text: str, stops: list[str], rng: random.Random
) -> None:
    filter_ = StopStrings(stops)
    out, at = "", 0
    while at < len(text) and not filter_.found:
        size = rng.randint(1, 4)
        out += filter_.add(text[at : at + size])
        at += size
    ends = [text.find(stop) for stop in stops if stop in text[:at]]
    if filter_.found:
        assert ends
        assert any(text.startswith(stop, len(out)) for stop in stops)
        assert text.startswith(out)
    else:
        assert not ends
        assert out + filter_.end() == text


def test_a_stop_string_across_tokens_is_neither_text_nor_a_token(bytewise: PreTrainedTokenizerFast) -> None:
    text = "blue and green"
    ids = [bytewise.convert_tokens_to_ids(letter if letter != " " else "Ġ") for letter in text]
    writing = Writing(0, Speller(bytewise).spelling(), StopStrings(["nd g"]))
    events: list[Piece | Ended] = []
    for token in ids:
        piece = writing.add(Token(text="", id=token))
        events += [piece] if piece else []
        if writing.stopped:
            break
    events += writing.end("length")
    assert "".join(event.text for event in events if isinstance(event, Piece)) == "blue a"
    assert writing.count == sum(len(e.tokens) for e in events if isinstance(e, Piece)) == len("blue a")
    last = events[-1]
    assert isinstance(last, Ended)
    assert last.finish == "stop"


def said(text: str, size: int = 3) -> tuple[str, str, list[tuple[str, dict[str, object]]]]:
    """What is shown at once, what at the end, and the calls."""
    numbers = iter(range(100))
    calls = CallText(TOOLS, lambda: f"call_{next(numbers)}")
    shown = "".join(calls.add(text[at : at + size]) for at in range(0, len(text), size))
    rest, found = calls.end()
    return shown, rest, [(call.name, json.loads(call.arguments)) for call in found]


PARIS = ("weather", {"city": "Paris"})


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>', [PARIS]),
        (
            '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>\n'
            '<tool_call>{"name": "clock", "arguments": {}}</tool_call>',
            [PARIS, ("clock", {})],
        ),
        ('[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]', [PARIS]),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Paris"}', [PARIS]),
        ('<|python_tag|>{"name": "weather", "parameters": {"city": "Paris"}}<|eom_id|>', [PARIS]),
        ('{"name": "weather", "parameters": {"city": "Paris"}}', [PARIS]),
        (
            '{"name": "weather", "parameters": {"city": "Paris"}}; {"name": "clock", "parameters": {}}',
            [PARIS, ("clock", {})],
        ),
        ('{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [PARIS]),
    ],
)
def test_calls_are_found_in_every_form(text: str, calls: list[tuple[str, object]]) -> None:
    for size in (1, 3, 1000):
        assert said(text, size) == ("", "", calls)


@pytest.mark.parametrize(
    "text",
    [
        "no call at all, only < and [ and {",
        '{"name": "rm", "arguments": {}}',
        '{"city": "Paris"}',
        '<tool_call>{"name": "weather", "arguments": {"city": </tool_call>',
        '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>',
        "<tool_call>" + "[" * 5000,
        "",
    ],
)
def test_what_is_no_call_of_an_offered_tool_stays_text(text: str) -> None:
    shown, rest, calls = said(text)
    assert (shown + rest, calls) == (text, [])


def test_text_before_a_call_is_shown_at_once() -> None:
    shown, rest, calls = said('Let me see. <tool_call>{"name": "clock", "arguments": {}}</tool_call>')
    assert (shown, rest, calls) == ("Let me see. ", "", [("clock", {})])


def test_definitions_in_a_tools_parameters_are_still_found() -> None:
    tool = Tool(
        name="t",
        description="",
        parameters={"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "integer"}}},
    )
    schema = json.loads(call_schema([tool], "t"))
    assert schema["$defs"] == {"x": {"type": "integer"}}
    assert schema["properties"]["arguments"]["type"] == "object"
