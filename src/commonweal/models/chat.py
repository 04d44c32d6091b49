"""A chat as the model sees it: one sequence of tokens, and which of them are whose words.

The tokenizer's own chat template decides, or :data:`DEFAULT_TEMPLATE` where it has none. What people wrote
stays text: characters of a control token in a message, a tool call or a tool's description are encoded as
characters, so nobody ends a turn or begins another's from within. The engine and fine-tuning both render
here, so that a model is asked in the very tokens that it was trained on: the ids of a prompt are the first
ids of the same chat with its answer.

Tools for a template that knows none are described in the first system message, and calls are written as
``<tool_call>{"name": ..., "arguments": {...}}</tool_call>`` in the assistant's text (the form of Hermes and
Qwen).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from commonweal.core.completion import Message, Tool, ToolCall
from commonweal.core.errors import ConfigError, DataError
from commonweal.models.plain_text import Control, Place, PlainText, whole_characters

DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + '\\n' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant\\n' }}{% endif %}"
)
"""For base models without a template. A turn is its role, a line end, its text and the end of text: a role
counts only after an end of text, which no content can contain."""

TOOLS_BEFORE = (
    "You may call these functions. To call one, answer with "
    '<tool_call>{"name": ..., "arguments": {...}}</tool_call>.\n'
)

_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
"""Characters that Unicode leaves to private use: they mark places while a template is rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """``ids[start:stop]`` are the content of message number ``message``; of an assistant's, everything that
    it would generate: calls and the token that ends its turn included."""

    message: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A chat as tokens and as text. ``spans`` are in the order of the messages; one whose place could not be
    told (a template that rewrites contents) or that has no content is empty."""

    ids: list[int]
    text: str
    spans: tuple[Span, ...]


def render_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    tools: Sequence[Tool] = (),
    generation_prompt: bool = True,
) -> Rendered:
    """``messages`` as ``tokenizer`` (a fast tokenizer of transformers) has them; with ``generation_prompt``
    up to where the assistant begins to answer. Raises DataError when the template refuses them (a role that
    it does not know, turns that do not alternate), ConfigError when the tokenizer cannot be used."""
    if not messages:
        raise DataError("messages: there are none", hint="give at least one message")
    template = _template(tokenizer, tools)
    chat = _Chat(plain_text(tokenizer), template, messages, tools)
    marked = chat.marked(generation_prompt)
    spans = _character_spans(chat, marked)
    return _encoded(chat, marked, spans)


def end_tokens(tokenizer: Any) -> frozenset[int]:
    """The tokens that end an assistant's turn: the tokenizer's end of text, and its template's end of a
    turn."""
    asked = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    rendered = render_chat(tokenizer, asked, generation_prompt=False)
    known = {control.id for control in plain_text(tokenizer).controls.values()}
    last = rendered.ids[rendered.spans[1].stop - 1] if rendered.spans[1].stop else None
    ends = {last, getattr(tokenizer, "eos_token_id", None)}
    return frozenset(token for token in ends if token is not None and (token in known or token != last))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marked:
    """A rendered text with its marks taken out: ``contents`` are the places of the messages' contents (None:
    not told), ``controls`` the template's own control tokens with the characters that they take."""

    text: str
    contents: tuple[tuple[int, int] | None, ...]
    controls: tuple[tuple[int, int, Control], ...]


@lru_cache(maxsize=16)
def plain_text(tokenizer: Any) -> PlainText:
    """The encoder of text of ``tokenizer``, made once."""
    return PlainText(tokenizer)


def _template(tokenizer: Any, tools: Sequence[Tool]) -> _Template:
    own = tokenizer.chat_template is not None
    if not own and not tokenizer.eos_token:
        raise ConfigError(
            "the tokenizer has neither a chat template nor an end-of-text token",
            hint="add chat_template or eos_token to its tokenizer_config.json",
        )
    text = tokenizer.get_chat_template(tools=[{}] if tools else None) if own else DEFAULT_TEMPLATE
    return _Template(tokenizer=tokenizer, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    tokenizer: Any
    text: str

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any], prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                chat_template=self.text,
                add_generation_prompt=prompt,
                tokenize=False,
            )
        except Exception as error:  # a template raises what it likes
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"messages: the model's chat template refuses them: {said}",
                hint="see which roles, and in which order, this model takes",
            ) from error
        return str(text)


class _Chat:
    """The messages as a template gets them: control tokens in what people wrote are each one private
    character."""

    def __init__(
        self, plain: PlainText, template: _Template, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> None:
        self.given = len(messages)
        if "tool" not in template.text and (tools or any(m.tool_calls for m in messages)):
            messages, tools = _folded(messages, tools), ()
        self.plain = plain
        self.messages = messages
        self._template = template
        used = set("".join(_texts(messages, tools)))
        self._free = (chr(code) for codes in _PRIVATE for code in codes if chr(code) not in used)
        self._marks: dict[str, str] = {}
        self._tools = [self._escaped(_tool_json(tool)) for tool in tools]
        self._tables = [self._escaped(_message_json(message)) for message in messages]
        self._ends = [(self._fresh(), self._fresh()) for _ in messages]
        self._places = re.compile(f"[{''.join(start + stop for start, stop in self._ends)}]")

    def rendered(self, count: int, prompt: bool) -> str:
        """The first ``count`` messages by the template, contents still escaped."""
        return self._template.render(self._tables[:count], self._tools, prompt)

    def marked(self, prompt: bool) -> _Marked:
        """All messages, with the places of their contents. A template that strips contents is told stripped
        ones."""
        text = self.rendered(len(self._tables), prompt)
        for strip in (False, True):
            with_marks = self._with_marks(prompt, strip)
            if with_marks is not None and self._unmarked(with_marks) == text:
                return self._parsed(with_marks)
        return self._parsed(text)

    def unescaped(self, text: str) -> str:
        """``text`` with the characters of the control tokens that its authors wrote."""
        return text.translate({ord(mark): token for token, mark in self._marks.items()})

    def _with_marks(self, prompt: bool, strip: bool) -> str | None:
        tables = []
        for table, (start, stop) in zip(self._tables, self._ends, strict=True):
            content = table["content"].strip() if strip else table["content"]
            tables.append({**table, "content": f"{start}{content}{stop}" if content else ""})
        try:
            return self._template.render(tables, self._tools, prompt)
        except DataError:  # a template that looks into contents: it has rendered them unmarked
            return None

    def _unmarked(self, text: str) -> str:
        return self._places.sub("", text)

    def _parsed(self, text: str) -> _Marked:
        """Control tokens are looked for between marks, so that none is made of a content and what follows
        it."""
        runs = self._places.split(text)
        places: dict[str, list[int]] = {}
        controls, at = [], 0
        for run, mark in zip(runs, [*self._places.findall(text), ""], strict=True):
            for match in self.plain.pattern.finditer(run):
                control = self.plain.controls[match.group()]
                controls.append((at + match.start(), at + match.end(), control))
            at += len(run)
            places.setdefault(mark, []).append(at)
        contents: list[tuple[int, int] | None] = []
        for start, stop in self._ends:
            found = places.get(start, []) + places.get(stop, [])
            once = len(found) == 2 and start in places and stop in places
            contents.append((found[0], found[1]) if once else None)
        return _Marked(text="".join(runs), contents=tuple(contents), controls=tuple(controls))

    def _escaped(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.plain.pattern.sub(lambda match: self._mark(match.group()), whole_characters(value))
        if isinstance(value, Mapping):
            return {self._escaped(key): self._escaped(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._escaped(item) for item in value]
        return value

    def _mark(self, token: str) -> str:
        if token not in self._marks:
            self._marks[token] = self._fresh()
        return self._marks[token]

    def _fresh(self) -> str:
        mark = next(self._free, None)
        if mark is None:
            raise DataError("messages: there are too many", hint="send fewer messages")
        return mark


def _character_spans(chat: _Chat, marked: _Marked) -> list[tuple[int, int]]:
    """The characters of every message; (0, 0) where they are not known."""
    spans = []
    for number, message in enumerate(chat.messages):
        place = marked.contents[number]
        if message.role == "assistant":
            place = _generated(chat, marked, number) or _to_its_end(marked, number)
        spans.append(place or (0, 0))
    return spans


def _generated(chat: _Chat, marked: _Marked, number: int) -> tuple[int, int] | None:
    """What follows the prompt for this assistant message, if the template renders the two alike."""
    try:
        before = chat.rendered(number, True) if number else ""
    except DataError:  # a template that wants a user's turn before an answer
        return None
    after = chat.rendered(number + 1, False)
    if not after.startswith(before) or not before or not marked.text.startswith(before):
        return None
    stop = len(after)
    if not marked.text.startswith(after):
        stop = len(after.rstrip())
        if not marked.text.startswith(after[:stop]):
            return None
    ends = [end for _, end, _ in marked.controls if len(before) < end <= stop]
    if ends and not marked.text[ends[-1] : stop].strip():  # a line end after the last token is not generated
        stop = ends[-1]
    return len(before), stop


def _to_its_end(marked: _Marked, number: int) -> tuple[int, int] | None:
    """The content and the control token that follows at once, where prompt and answer are rendered
    differently."""
    place = marked.contents[number]
    if place is None:
        return None
    start, stop = place
    for begin, end, _ in marked.controls:
        if begin >= stop and not marked.text[stop:begin].strip():
            return start, end
    return place


def _encoded(chat: _Chat, marked: _Marked, spans: Sequence[tuple[int, int]]) -> Rendered:
    """Ids, piece by piece: cut at control tokens, and where an assistant's words begin and end."""
    cuts = {
        at for m, span in zip(chat.messages, spans, strict=True) if m.role == "assistant" for at in span if at
    }
    ids: list[int] = []
    starts: list[int] = []
    stops: list[int] = []
    for at, text, control, place in _pieces(marked, cuts):
        whole = [] if control is None else [(control.id, 0, len(text))]
        for token, start, stop in whole or _shortened(chat, text, place):
            ids.append(token)
            starts.append(at + start)
            stops.append(at + stop)
    made = []
    added = len(spans) - chat.given  # a system message that only describes tools is nobody's
    for number, (start, stop) in enumerate(spans[added:]):
        first, last = (bisect_right(stops, start), bisect_left(starts, stop)) if stop > start else (0, 0)
        made.append(Span(message=number, start=first, stop=max(first, last)))
    return Rendered(ids=ids, text=chat.unescaped(marked.text), spans=tuple(made))


def _shortened(chat: _Chat, text: str, place: Place) -> list[tuple[int, int, int]]:
    """A piece's tokens, with offsets in the escaped text."""
    whole = chat.unescaped(text)
    found = chat.plain.encode(whole, place)
    if whole == text:
        return found
    where = [at for at, letter in enumerate(text) for _ in chat.unescaped(letter)]
    return [(token, where[start], where[max(start, stop - 1)] + 1) for token, start, stop in found]


def _pieces(marked: _Marked, cuts: set[int]) -> Iterator[tuple[int, str, Control | None, Place]]:
    """The text in order: (where, characters, the control token that they are, what stands before)."""
    at = 0
    place: Place = "first"
    text = marked.text
    last = (len(text), len(text), None)
    for begin, end, control in (*marked.controls, last):
        before = text[at:begin]
        kept = before.rstrip() if control is not None and control.lstrip else before
        inner = sorted(cut for cut in cuts if at < cut < at + len(kept))
        for start, stop in zip([at, *inner], [*inner, at + len(kept)], strict=True):
            if stop > start:
                yield start, text[start:stop], None, place
                place = "inside"
        if control is not None:
            yield begin, text[begin:end], control, "inside"
            place = "after_control"
            at = end
            if control.rstrip:
                at += len(text[end:]) - len(text[end:].lstrip())


def _folded(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Tools and calls as text, for a template that knows none."""
    made = [
        replace(
            message, content="\n".join(filter(None, [message.content, *map(_call_text, message.tool_calls)]))
        )
        for message in messages
    ]
    if tools:
        described = TOOLS_BEFORE + "\n".join(json.dumps(_tool_json(t), ensure_ascii=False) for t in tools)
        if made[0].role == "system":
            made[0] = replace(made[0], content=f"{made[0].content}\n\n{described}")
        else:
            made.insert(0, Message(role="system", content=described))
    return made


def _call_text(call: ToolCall) -> str:
    table = json.dumps({"name": call.name, "arguments": _arguments(call)}, ensure_ascii=False)
    return f"<tool_call>{table}</tool_call>"


def _arguments(call: ToolCall) -> Any:
    """Templates want the arguments as a table; what is not JSON stays the text that the model wrote."""
    try:
        return json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments


def _message_json(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _tool_json(tool: Tool) -> dict[str, Any]:
    about = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": about}


def _texts(messages: Sequence[Message], tools: Sequence[Tool]) -> Iterator[str]:
    """Everything that people wrote, to keep its characters free of marks."""
    for message in messages:
        yield json.dumps(_message_json(message), ensure_ascii=False)
    for tool in tools:
        yield json.dumps(_tool_json(tool), ensure_ascii=False)
