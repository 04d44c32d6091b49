"""The seam between those who want text from a model and those who compute it.

``evals`` asks for a :class:`Completion` of a :class:`Request` and never learns who answered: a server that speaks
the OpenAI API, a model in this process, a pool, or a mock. A request is plain data with one canonical form, so its
hash names it in a cache and in a run's tables. Nothing here knows a network, a tokenizer or a metric.

Three kinds of request. ``generate`` asks for new text after a prompt (or after chat messages). ``score`` asks for the
log-probabilities of a given ``continuation`` after the prompt, and ``embed`` for one vector that stands for the prompt;
both generate nothing. Whole answers come from a :class:`Completer`; :mod:`commonweal.core.streaming` has them as they
are made.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

from commonweal.core.errors import CommonwealError
from commonweal.core.hashing import content_hash

LOGPROB_FLOOR = -9999.0
"""What stands for the log-probability of an impossible token: the number that OpenAI and vLLM use as well."""

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode

Kind = Literal["generate", "score", "embed"]
Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls", "content_filter", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture as bytes of a media type (``image/png``)."""

    data: bytes
    media_type: str = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that the model wants to be run; ``arguments`` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat. ``images`` come before the text."""

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call: ``parameters`` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model. Exactly one of ``prompt`` and ``messages`` is set.

    ``logprobs`` is how many alternatives to report for each token (0: only the chosen token's, None: none at all).
    ``sample`` tells apart requests that are equal on purpose (a second sample at temperature 1), so that a cache
    does not answer both with one completion. ``schema`` is the text of a JSON schema that the answer must fit (``{}``:
    any JSON). ``tool_choice`` is auto, none, required, or the name of the one tool to be called. ``penalties`` are
    OpenAI's frequency and presence penalty, ``bias`` is added to the logits of tokens by their ids. ``ids`` are the
    continuation's tokens where those count and not their text (a sampled answer that is scored anew); of a request
    that is not ``score``, they are the prompt's, and ``prompt`` is empty. ``fit`` lets an answer be shorter than
    ``max_tokens`` where the window has no more room beside the prompt (nobody set that limit on purpose).
    """

    model: str
    kind: Kind = "generate"
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    continuation: str = ""
    max_tokens: int = 100
    temperature: float = 0.0
    top_p: float = 1.0
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    tools: tuple[Tool, ...] = ()
    sample: int = 0
    schema: str | None = None
    tool_choice: str = "auto"
    penalties: tuple[float, float] = (0.0, 0.0)
    bias: tuple[tuple[int, float], ...] = ()
    ids: tuple[int, ...] = ()
    fit: bool = False

    def canonical(self) -> str:
        """One JSON text for equal requests; pictures stand for themselves by their hash."""
        if self.prompt is None or self.messages is not None or self.kind != "generate" or self._special():
            return _encode(_plain(self))
        before, after = _around_prompt(
            self.model,
            self.kind,
            self.max_tokens,
            self.temperature,
            self.top_p,
            self.n,
            self.stop,
            self.seed,
            self.logprobs,
            self.sample,
        )
        return f"{before}{_encode(self.prompt)}{after}"

    def hash(self) -> str:
        """SHA-256 of :meth:`canonical`, as hexadecimal digits."""
        return content_hash(self.canonical().encode("utf-8", "surrogatepass"))

    def _special(self) -> dict[str, Any]:
        """What few requests have: in the canonical form only where it is set, which keeps the hashes of the others."""
        made: dict[str, Any] = {}
        if self.tools:
            made["tools"] = [[tool.name, tool.description, dict(tool.parameters)] for tool in self.tools]
        if self.schema is not None:
            made["schema"] = self.schema
        if self.tool_choice != "auto":
            made["tool_choice"] = self.tool_choice
        if any(self.penalties):
            made["penalties"] = self.penalties
        if self.bias:
            made["bias"] = self.bias
        if self.ids:
            made["ids"] = self.ids
        if self.fit:
            made["fit"] = True
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a completion (or of a scored continuation), its natural log-probability, and alternatives. ``id``
    is its number in the model's vocabulary, where that is known."""

    text: str
    logprob: float | None = None
    top: Mapping[str, float] = field(default_factory=dict)
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer. ``logprob`` is the sum over its tokens (nats), None where the server tells none. ``greedy`` says
    of a scored continuation whether each of its tokens was the likeliest."""

    text: str
    finish: Finish = "stop"
    tokens: tuple[Token, ...] = ()
    logprob: float | None = None
    greedy: bool | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. ``queued`` passed before the request was sent (or its batch begun), ``first_token`` and ``total``
    count from then on; ``first_token`` is None where nothing was streamed."""

    queued: float = 0.0
    first_token: float | None = None
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came of a request. ``model`` is who the server says it is; ``joules`` None where no meter is known."""

    choices: tuple[Choice, ...]
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timing: Timing = Timing()
    joules: float | None = None
    attempts: int = 1
    cached: bool = False

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text


FailureKind = Literal[
    "bad_request",  # the server will never answer this one: not tried again
    "too_long",  # it does not fit the context window
    "unsupported",  # no log-probabilities, no images, no tools
    "refused",  # a content filter
    "rate_limited",
    "server_error",
    "timeout",
    "unreachable",
    "malformed",  # the answer is not what the protocol says
    "not_authorized",
    "budget",
]


class CompletionFailed(CommonwealError):
    """A request that was not answered, after all retries. ``kind`` is kept with the sample."""

    code = "completion_failed"
    status = 502

    def __init__(
        self, kind: FailureKind, message: str, *, hint: str | None = None, attempts: int = 1
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind: FailureKind = kind
        self.attempts = attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a completer can do, as far as it is known before asking; None is 'not known, try'. ``window`` is the
    context length in tokens, ``concurrency`` how many requests it wants at once."""

    score: bool | None = None
    logprobs: bool | None = None
    complete: bool | None = None
    chat: bool | None = None
    images: bool | None = None
    tools: bool | None = None
    window: int | None = None
    concurrency: int = 64


class Completer(Protocol):
    """Answers requests. Raises :class:`CompletionFailed` for one that it cannot answer, and goes on with others."""

    @property
    def abilities(self) -> Abilities: ...

    def complete(self, request: Request) -> Awaitable[Completion]: ...

    async def close(self) -> None: ...


@lru_cache(maxsize=256, typed=True)
def _around_prompt(*parameters: Any) -> tuple[str, str]:
    """What the canonical form has before and after the prompt, for a request of text with these ``parameters``: a run's
    requests share them, and to encode them takes longer than to encode the prompt. A quote within a text is escaped,
    so the place of the prompt cannot be mistaken."""
    names = ("model", "kind", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "logprobs", "sample")
    known = dict(zip(names, parameters, strict=True))
    before, empty, after = _encode(_plain(Request(**known, prompt=""))).partition('"prompt":""')
    return before + empty[:-2], after


def _plain(request: Request) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model": request.model,
        "kind": request.kind,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "n": request.n,
        "stop": request.stop,
        "seed": request.seed,
        "logprobs": request.logprobs,
        "sample": request.sample,
    }
    if request.prompt is not None:
        made["prompt"] = request.prompt
    if request.messages is not None:
        made["messages"] = [message_json(message) for message in request.messages]
    if request.kind == "score":
        made["continuation"] = request.continuation
    return made | request._special()


def message_json(message: Message) -> dict[str, Any]:
    """A message as plain JSON: a picture stands there as its media type and the SHA-256 of its bytes."""
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        made["images"] = [[image.media_type, content_hash(image.data)] for image in message.images]
    if message.tool_calls:
        made["tool_calls"] = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made
