"""Fine-tuning files: what is right is read as it is meant, and what is wrong is answered with code, line and field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Message, Tool
from commonweal.core.errors import DataError
from commonweal.data.conversations.encoding import Encoded, encode_examples
from commonweal.data.conversations.examples import Chat, Completed, Document, Labelled, Method, Preference
from commonweal.data.conversations.preview import preview
from commonweal.data.conversations.problems import KEPT, BadFile, Problems
from commonweal.data.conversations.reading import Read, read_examples

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
CHAT = {"messages": [USER, ANSWER]}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}
PAIR = {
    "input": {"messages": [USER]},
    "preferred_output": [ANSWER],
    "non_preferred_output": [{"role": "assistant", "content": "no"}],
}


def lines(*values: Any) -> bytes:
    return b"\n".join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)


def read(*values: Any, method: Method = "supervised", least: int = 1) -> Read:
    return read_examples(lines(*values), method, least=least)


def found(result: Read) -> list[tuple[str, int, str]]:
    return [(p.code, p.line, p.field) for p in result.problems.first]


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


WRONG: dict[str, tuple[Any, Method, tuple[str, str]]] = {
    "not UTF-8": (b'{"text": "\xff"}', "supervised", ("not_utf8", "")),
    "not JSON": (b'{"text": ', "supervised", ("not_json", "")),
    "NaN": (b'{"text": NaN}', "supervised", ("not_json", "")),
    "deep": (b'{"text": ' + b"[" * 100_000, "supervised", ("not_json", "")),
    "a list": ([CHAT], "supervised", ("data_type", "")),
    "text": ("hi", "supervised", ("data_type", "")),
    "no messages": ({"tools": []}, "supervised", ("missing_messages_list", "messages")),
    "messages is text": ({"messages": "hi"}, "supervised", ("missing_messages_list", "messages")),
    "messages is empty": (chat(), "supervised", ("missing_messages_list", "messages")),
    "another key": (chat(USER, ANSWER, mesages=1), "supervised", ("unrecognized_key", "mesages")),
    "message is text": (chat("hi", ANSWER), "supervised", ("message_not_an_object", "messages[0]")),
    "no role": (chat({"content": "a"}, ANSWER), "supervised", ("message_missing_key", "messages[0].role")),
    "no content": (
        chat({"role": "user"}, ANSWER),
        "supervised",
        ("message_missing_key", "messages[0].content"),
    ),
    "another message key": (
        chat({**USER, "contents": "a"}, ANSWER),
        "supervised",
        ("message_unrecognized_key", "messages[0].contents"),
    ),
    "unknown role": (
        chat({"role": "human", "content": "a"}, ANSWER),
        "supervised",
        ("unrecognized_role", "messages[0].role"),
    ),
    "role is a number": (
        chat({"role": 1, "content": "a"}, ANSWER),
        "supervised",
        ("unrecognized_role", "messages[0].role"),
    ),
    "content is null": (
        chat({"role": "user", "content": None}, ANSWER),
        "supervised",
        ("missing_content", "messages[0].content"),
    ),
    "an empty answer": (
        chat(USER, {"role": "assistant", "content": ""}),
        "supervised",
        ("missing_content", "messages[1].content"),
    ),
    "content is a number": (
        chat({"role": "user", "content": 3}, ANSWER),
        "supervised",
        ("wrong_type", "messages[0].content"),
    ),
    "a picture": (
        chat({"role": "user", "content": [{"type": "image_url"}]}, ANSWER),
        "supervised",
        ("unsupported_content", "messages[0].content[0]"),
    ),
    "no answer": (chat(USER), "supervised", ("example_missing_assistant_message", "messages")),
    "weight of a user": (
        chat({**USER, "weight": 1}, ANSWER),
        "supervised",
        ("invalid_weight", "messages[0].weight"),
    ),
    "weight of 2": (
        chat(USER, {**ANSWER, "weight": 2}),
        "supervised",
        ("invalid_weight", "messages[1].weight"),
    ),
    "weight is true": (
        chat(USER, {**ANSWER, "weight": True}),
        "supervised",
        ("invalid_weight", "messages[1].weight"),
    ),
    "all weights 0": (chat(USER, {**ANSWER, "weight": 0}), "supervised", ("nothing_to_train", "messages")),
    "tools is text": (chat(USER, ANSWER, tools="add"), "supervised", ("invalid_tool", "tools")),
    "a tool without a name": (
        chat(USER, ANSWER, tools=[{"type": "function", "function": {}}]),
        "supervised",
        ("invalid_tool", "tools[0]"),
    ),
    "a call of a user": (
        chat({**USER, "tool_calls": [CALL]}, ANSWER),
        "supervised",
        ("invalid_tool_call", "messages[0].tool_calls"),
    ),
    "arguments that are no JSON": (
        chat(
            USER, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "x"}}]}
        ),
        "supervised",
        ("invalid_tool_call", "messages[1].tool_calls[0].function.arguments"),
    ),
    "a tool's answer to nothing": (
        chat(USER, {"role": "tool", "content": "1"}, ANSWER),
        "supervised",
        ("message_missing_key", "messages[1].tool_call_id"),
    ),
    "no completion": ({"prompt": "a"}, "supervised", ("missing_key", "completion")),
    "prompt is a list": ({"prompt": [], "completion": "a"}, "supervised", ("wrong_type", "prompt")),
    "empty completion": ({"prompt": "a", "completion": ""}, "supervised", ("missing_content", "completion")),
    "empty text": ({"text": ""}, "supervised", ("missing_content", "text")),
    "pairs for supervised": (PAIR, "supervised", ("wrong_format", "")),
    "chats for dpo": (CHAT, "dpo", ("wrong_format", "")),
    "no preferred": (
        {k: PAIR[k] for k in ("input", "non_preferred_output")},
        "dpo",
        ("missing_key", "preferred_output"),
    ),
    "input is a list": ({**PAIR, "input": [USER]}, "dpo", ("wrong_type", "input")),
    "input without messages": ({**PAIR, "input": {}}, "dpo", ("missing_messages_list", "input.messages")),
    "another key of input": (
        {**PAIR, "input": {"messages": [USER], "model": "x"}},
        "dpo",
        ("unrecognized_key", "input.model"),
    ),
    "preferred by a user": (
        {**PAIR, "preferred_output": [USER]},
        "dpo",
        ("example_missing_assistant_message", "preferred_output"),
    ),
    "the same twice": (
        {**PAIR, "non_preferred_output": [ANSWER]},
        "dpo",
        ("identical_outputs", "non_preferred_output"),
    ),
    "a label that is a word": (chat(USER, ANSWER, label="good"), "kto", ("wrong_type", "label")),
    "a label of a question": (
        chat(USER, ANSWER, USER, label=True),
        "kto",
        ("last_message_not_assistant", "messages"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_line_and_field(name: str) -> None:
    value, method, (code, field) = WRONG[name]
    good = {"supervised": CHAT, "dpo": PAIR, "kto": {**CHAT, "label": True}}[method]
    plain = isinstance(value, dict) and ("prompt" in value or "text" in value)
    first = (
        {"prompt": "a", "completion": "b"}
        if plain and "prompt" in value
        else {"text": "a"}
        if plain
        else good
    )
    result = read(first, b"", value, method=method)
    assert (code, 3, field) in found(result)
    assert len(result.examples) == 1
    with pytest.raises(BadFile) as raised:
        result.problems.check()
    assert "line 3" in str(raised.value)


def test_one_pass_finds_everything() -> None:
    bad = chat({"role": "human"}, {**ANSWER, "weight": 7, "mood": "x"}, extra=1)
    result = read(CHAT, bad, b"oops", PAIR, CHAT | {"messages": 3})
    codes = [(p.code, p.line) for p in result.problems.first]
    assert codes == [
        ("unrecognized_key", 2),
        ("unrecognized_role", 2),
        ("message_unrecognized_key", 2),
        ("invalid_weight", 2),
        ("not_json", 3),
        ("wrong_format", 4),
        ("missing_messages_list", 5),
    ]


def test_unknown_keys_name_the_nearest() -> None:
    (problem,) = read(chat(USER, {**ANSWER, "wieght": 1})).problems.first
    assert "did you mean 'weight'" in problem.message


@pytest.mark.parametrize("data", [b"", b"\n\n  \n", b"\xef\xbb\xbf"])
def test_an_empty_file(data: bytes) -> None:
    assert found(read_examples(data, "supervised")) == [("empty_file", 0, "")]


def test_too_few_examples() -> None:
    assert found(read(CHAT, chat(ANSWER), least=10)) == [("too_few_examples", 0, "")]
    assert "10 are needed" in str(read(CHAT, least=10).problems.first[0])


def test_formats_are_not_mixed() -> None:
    result = read(CHAT, {"text": "a"}, {"prompt": "a", "completion": "b"})
    assert found(result) == [("mixed_formats", 2, ""), ("mixed_formats", 3, "")]


def test_duplicates_are_told_and_kept() -> None:
    result = read(CHAT, chat(ANSWER), {"messages": [ANSWER]})
    assert found(result) == [("duplicate_example", 3, "")]
    assert len(result.examples) == 3
    result.problems.check()


def test_a_million_mistakes_are_counted_and_few_are_kept() -> None:
    result = read_examples(b"{}\n" * 1000, "supervised")
    assert result.problems.counts == {"missing_messages_list": 1000}
    assert len(result.problems.first) == KEPT
    with pytest.raises(BadFile, match=r"line 1: messages: is missing \(and 999 more\)") as raised:
        result.problems.check()
    assert raised.value.code == "missing_messages_list"


def test_what_is_right_is_read_as_it_is_meant() -> None:
    tool_chat = chat(
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]},
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {**ANSWER, "weight": 0.5, "name": "bot"},
        tools=[TOOL],
        parallel_tool_calls=False,
    )
    result = read(CHAT, tool_chat, chat(USER, {**ANSWER, "weight": 0}, USER, ANSWER))
    assert not result.problems.first
    second = result.examples[1].example
    assert isinstance(second, Chat)
    assert [t.message.role for t in second.turns] == ["system", "user", "assistant", "tool", "assistant"]
    assert [t.weight for t in second.turns] == [0, 0, 1, 0, 0.5]
    assert second.turns[0].message.content == "be kind"
    assert second.turns[2].message.tool_calls[0].arguments == '{"a": 1}'
    assert second.tools == (Tool(name="add", description="adds", parameters={}),)


def test_the_other_formats() -> None:
    (one,) = read({"prompt": "", "completion": "b"}).examples
    assert one.example == Completed(prompt="", completion="b")
    (one,) = read_examples(b'\xef\xbb\xbf{"text": "a"}\r\n', "supervised").examples
    assert one.example == Document(text="a")
    (one,) = read(PAIR, method="dpo").examples
    assert isinstance(one.example, Preference)
    assert one.example.messages == (Message(role="user", content="hi"),)
    (one,) = read({**CHAT, "label": False}, method="kto").examples
    assert isinstance(one.example, Labelled)
    assert one.example.label is False


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    read_examples(data, "supervised")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "weight",
                    "tool_calls",
                    "function",
                    "name",
                    "tools",
                    "input",
                    "label",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON, st.sampled_from(["supervised", "dpo", "kto"]))
def test_no_json_breaks_the_reader(value: Any, method: Method) -> None:
    for wrapped in (value, {"messages": value}, {"messages": [value]}, {**PAIR, "preferred_output": [value]}):
        result = read_examples(json.dumps(wrapped).encode(), method)
        assert result.examples or result.problems.errors


# Encoding, by an encoder whose tokens are characters.


@dataclass(frozen=True)
class _Span:
    message: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Rendered:
    ids: list[int]
    spans: list[_Span]


class Letters:
    """One token a character; a turn ends in token 0."""

    end_of_text = 0

    def chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> _Rendered:
        ids: list[int] = []
        spans = []
        for number, message in enumerate(messages):
            if message.content == "refuse":
                raise DataError("roles must alternate")
            ids.append(ord(message.role[0]))
            start = len(ids)
            ids += [*map(ord, message.content), 0]
            spans.append(_Span(number, start, len(ids)))
        return _Rendered(ids, spans)

    def text(self, text: str, *, continued: bool = False) -> list[int]:
        return list(map(ord, text))


def encode(*values: Any, method: Method = "supervised", window: int = 100) -> tuple[list[Encoded], Problems]:
    result = read(*values, method=method)
    return encode_examples(result.examples, Letters(), result.problems, window=window), result.problems


def trained(one: Encoded, sequence: int = 0) -> list[tuple[str, float]]:
    chosen = one.sequences[sequence]
    pairs = zip(chosen.ids, chosen.weights, strict=True)
    return [(chr(i), w) for i, w in pairs if w]


def test_only_the_assistants_words_are_trained() -> None:
    (one,), _ = encode(
        chat(USER, {**ANSWER, "content": "ab", "weight": 0.5}, USER, {**ANSWER, "content": "c"})
    )
    assert trained(one) == [("a", 0.5), ("b", 0.5), ("\0", 0.5), ("c", 1.0), ("\0", 1.0)]
    assert one.tokens == 1 + 3 + 1 + 3 + 1 + 3 + 1 + 2


def test_a_completion_and_a_text() -> None:
    (one,), _ = encode({"prompt": "ab", "completion": "c"})
    assert trained(one) == [("c", 1.0), ("\0", 1.0)]
    (one,), _ = encode({"text": "abc"})
    assert trained(one) == [("b", 1.0), ("c", 1.0), ("\0", 1.0)]  # nothing stands before the first


def test_a_preference_trains_the_outputs_alone() -> None:
    asked = {"messages": [USER, ANSWER, USER]}
    (one,), _ = encode({**PAIR, "input": asked}, method="dpo")
    assert "".join(letter for letter, _ in trained(one)) == "hello\0"
    assert "".join(letter for letter, _ in trained(one, 1)) == "no\0"


def test_a_label_trains_the_last_answer_alone() -> None:
    (one, two), _ = encode(
        chat(USER, ANSWER, USER, {**ANSWER, "content": "x"}, label=False),
        {**CHAT, "label": True},
        method="kto",
    )
    assert ("".join(letter for letter, _ in trained(one)), one.label, two.label) == ("x\0", -1.0, 1.0)


def test_what_is_too_long_is_cut_or_refused() -> None:
    long = chat(USER, {**ANSWER, "content": "abcdef"})
    (one,), problems = encode(long, window=8)
    assert [(p.code, p.line) for p in problems.first] == [("truncated", 1)]
    assert "12 tokens, the model reads 8" in problems.first[0].message
    assert "".join(letter for letter, _ in trained(one)) == "abcdef"[:3]
    none, problems = encode(long, window=5)
    assert (none, [(p.code, p.line) for p in problems.first]) == ([], [("too_long", 1)])


def test_a_template_that_refuses_says_so() -> None:
    none, problems = encode(chat({**USER, "content": "refuse"}, ANSWER))
    assert (none, [(p.code, p.message) for p in problems.first]) == (
        [],
        [("refused_by_template", "roles must alternate")],
    )


def test_the_preview_counts_and_shows() -> None:
    result = read(CHAT, chat(USER, {**ANSWER, "content": "x"}), CHAT)
    encoded = encode_examples(result.examples, Letters(), result.problems, window=100)
    made = preview(encoded, result.problems, lambda ids: "".join(map(chr, ids)), shown=1)
    assert (made.examples, made.tokens.least, made.tokens.most, made.tokens.total) == (3, 7, 11, 29)
    assert (made.trained.total, made.trained.mean) == (6 + 2 + 6, pytest.approx(14 / 3))
    assert made.counts == {"duplicate_example": 1}
    (shown,) = made.shown
    assert [(part.text, part.weight) for part in shown.sequences[0]] == [("uhi\0a", 0.0), ("hello\0", 1.0)]
    assert json.loads(json.dumps(made.to_json()))["shown"][0]["line"] == 1
