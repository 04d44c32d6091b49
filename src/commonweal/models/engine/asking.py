"""A request on its way into an engine: what it weighs in tokens, and where its events go.

Requests become tokens here, so that everything that is wrong with one is said before it takes a place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from commonweal.core.completion import CompletionFailed, Message, Request
from commonweal.core.errors import CommonwealError
from commonweal.core.streaming import Event
from commonweal.models.chat import end_tokens, render_chat
from commonweal.models.encoded import Encoded
from commonweal.models.text import LocalText


class Answer(Protocol):
    """Where events go. They are gathered and handed over between two steps."""

    @property
    def cancelled(self) -> bool: ...

    def put(self, event: Event) -> None: ...

    def fail(self, error: CommonwealError) -> None: ...


@dataclass(slots=True, kw_only=True)
class Asked:
    """``adapter`` is None for the base model. ``since`` and ``began`` are in seconds of the engine's own clock."""

    request: Request
    answer: Answer
    adapter: str | None
    encoded: Encoded
    since: float
    began: float = 0.0
    alone: bool = False

    @property
    def prompt(self) -> list[int]:
        return self.encoded.prompt

    @property
    def rows(self) -> int:
        return self.request.n

    @property
    def longest(self) -> int:
        """Tokens that a row may come to have."""
        return len(self.encoded.prompt) + self.request.max_tokens


class Encoder:
    """Requests as tokens, for one model."""

    def __init__(self, text: LocalText, vocabulary: int, window: int | None, most: int) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._window = window
        self._most = most
        self._chat_ends: frozenset[int] | None = None

    def encoded(self, request: Request) -> Encoded:
        """Raises CompletionFailed."""
        _check(request, self._vocabulary)
        if request.messages is not None:
            encoded = Encoded(prompt=self._chat(request), continuation=[])
        elif request.ids and request.kind != "score":
            encoded = Encoded(prompt=list(request.ids), continuation=[])
        else:
            [found] = self._text.encode([_plain(request)])
            if request.kind == "score" and request.ids and not request.prompt:
                return self._checked(request, _text_of_ids(found, list(request.ids)))
            if isinstance(found, CompletionFailed):
                raise found
            encoded = found
        if request.kind == "score" and request.ids:
            encoded = Encoded(prompt=encoded.prompt, continuation=list(request.ids))
        elif request.kind == "score" and request.messages is not None:
            encoded = Encoded(prompt=encoded.prompt, continuation=self._answer(request, encoded.prompt))
        return self._checked(request, encoded)

    def fitted(self, request: Request, encoded: Encoded) -> Request:
        """The request with the tokens that there is room for, where it lets that be fewer."""
        if not request.fit or request.kind != "generate":
            return request
        room = self._most // request.n
        if self._window is not None:
            room = min(room, self._window)
        most = min(request.max_tokens, room - len(encoded.prompt))
        return replace(request, max_tokens=most, fit=False)

    def ends(self, request: Request) -> frozenset[int]:
        """Tokens beside the model's own that end an answer."""
        if request.messages is None:
            return frozenset()
        if self._chat_ends is None:
            try:
                self._chat_ends = end_tokens(self._text.tokenizer)
            except CommonwealError:  # a template that refuses so short a chat
                self._chat_ends = frozenset()
        return self._chat_ends

    def _answer(self, request: Request, prompt: list[int]) -> list[int]:
        """The tokens of a chat's given answer, the end of its turn included: what comes after the chat's own tokens in
        the chat with its answer. Raises CompletionFailed where a template writes the chat otherwise then."""
        answer = Message(role="assistant", content=request.continuation)
        told = replace(request, messages=(*(request.messages or ()), answer), continuation="")
        whole = self._chat(told, generation_prompt=False)
        if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
            raise CompletionFailed(
                "unsupported",
                "this model's template does not write an answer after its chat: score its tokens (ids)",
            )
        return whole[len(prompt) :]

    def _chat(self, request: Request, *, generation_prompt: bool = True) -> list[int]:
        if any(message.images for message in request.messages or ()):
            raise CompletionFailed("unsupported", "this model reads text, no images")
        tools = request.tools if request.tool_choice != "none" else ()
        try:
            return render_chat(
                self._text.tokenizer,
                request.messages or (),
                tools=tools,
                generation_prompt=generation_prompt,
            ).ids
        except CommonwealError as error:
            raise CompletionFailed("bad_request", error.message, hint=error.hint) from None

    def _checked(self, request: Request, encoded: Encoded) -> Encoded:
        """The same, if it fits."""
        prompt = len(encoded.prompt)
        wanted = min(1, request.max_tokens) if request.fit else request.max_tokens
        new = {"generate": wanted, "score": len(encoded.continuation)}.get(request.kind, 0)
        if self._window is not None and prompt + new > self._window:
            raise CompletionFailed(
                "too_long",
                f"{prompt} tokens and {new} new ones do not fit the context window of {self._window}",
                hint="shorten the prompt, or ask for fewer tokens (max_tokens)",
            )
        rows = request.n if request.kind == "generate" else 1
        if rows * (prompt + new) > self._most:
            raise CompletionFailed(
                "too_long",
                f"{rows} times {prompt + new} tokens do not fit the {self._most} that this engine has memory for",
            )
        return encoded


def _text_of_ids(beginning: Encoded | CompletionFailed, ids: list[int]) -> Encoded:
    """Token ids that stand after nothing. Those that bring the token that begins a text need no second one; where a
    model has no such token, nothing stands before the first."""
    start = [] if isinstance(beginning, CompletionFailed) else beginning.prompt
    if not start or ids[: len(start)] == start:
        return Encoded(prompt=ids[:1], continuation=ids[1:], unscored=True)
    return Encoded(prompt=start, continuation=ids)


def _plain(request: Request) -> Request:
    """Tokens that are given by their ids need no text."""
    if request.kind == "generate" or (request.kind == "score" and not request.ids):
        return request
    return replace(request, kind="generate", continuation="")


def _check(request: Request, vocabulary: int) -> None:
    """What no model can do. The API has its own, narrower limits."""
    wrong: list[tuple[Callable[[Request], bool], str]] = [
        (lambda r: (r.prompt is None) == (r.messages is None), "give either a prompt or messages"),
        (lambda r: r.n < 1, "n: must be at least 1"),
        (lambda r: r.max_tokens < 0, "max_tokens: must not be negative"),
        (lambda r: not 0.0 <= r.temperature <= 100.0, "temperature: must be 0 to 100"),
        (lambda r: not 0.0 <= r.top_p <= 1.0, "top_p: must be 0 to 1"),
        (lambda r: (r.logprobs or 0) > vocabulary, f"logprobs: the model has {vocabulary} tokens"),
        (
            lambda r: any(not 0 <= token < vocabulary for token in (*r.ids, *(t for t, _ in r.bias))),
            f"a token that is not one of the model's {vocabulary}",
        ),
        (
            lambda r: r.tool_choice not in ("auto", "none") and not r.tools,
            "tool_choice: there are no tools to choose from",
        ),
        (
            lambda r: r.tool_choice not in ("auto", "none", "required", *(tool.name for tool in r.tools)),
            f"tool_choice: '{request.tool_choice}' is none of the tools",
        ),
    ]
    for is_wrong, message in wrong:
        if is_wrong(request):
            raise CompletionFailed("bad_request", message)
