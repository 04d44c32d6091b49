"""A model behind any server that speaks the OpenAI protocol: OpenAI, vLLM, llama.cpp, a pool, and many more.

It owns what is found out about the server (what it can do, which parameters it knows, how many requests it bears at
once) and the life of one request: wait for a place, send, read, and ask again where that can help. Bodies, answers,
faults and decisions are other modules' and pure; bytes are the transport's.

Invariants: a request that the server refuses for good (400, 401, 403, 404, 413, 422) is sent once; no request is sent
more than ``Retries.attempts`` times; a place is never held while waiting to ask again.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from commonweal.core.completion import (
    Abilities,
    Completion,
    CompletionFailed,
    FailureKind,
    Message,
    Request,
    Timing,
    Tool,
)
from commonweal.core.errors import Unavailable
from commonweal.evals.completers.answers import Malformed, NoLogprobs, completion_from
from commonweal.evals.completers.bodies import MODELS, body_of, path_of
from commonweal.evals.completers.concurrency import Gate
from commonweal.evals.completers.dialect import Dialect, learned
from commonweal.evals.completers.faults import Fault, fault_of
from commonweal.evals.completers.retrying import Clock, LoopClock, Retries
from commonweal.evals.completers.streams import joined
from commonweal.evals.completers.transport import HttpTransport, Reply, Transport, TransportFailed

log = logging.getLogger(__name__)

_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx", "n_ctx_train")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """``concurrency`` is the most requests at once, ``timeout`` the seconds that one may take; ``stream`` asks for the
    text piece by piece, which measures the time to the first token and costs both sides processor time. ``proxy`` is
    the URL of a proxy in between."""

    concurrency: int = 64
    timeout: float = 600.0
    stream: bool = False
    proxy: str = ""
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.timeout <= 0:
            raise ValueError("concurrency: at least 1; timeout: more than 0 seconds")


_ANY_TOOL = Tool(name="clock", description="Tells the time.", parameters={"type": "object", "properties": {}})
_PROBE_TRIES = 3
"""How often a probe is asked again of a server that breaks on it."""


class RemoteCompleter:
    """Asks the server at the other end of ``transport``. For one event loop.

    ``model`` is the one that :meth:`probe` asks. ``on_other_model`` is called once, with the name asked for and the
    name that the server gave, where they differ.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        model: str,
        options: RemoteOptions | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
        on_other_model: Callable[[str, str], None] | None = None,
    ) -> None:
        self._transport = transport
        self._model = model
        self._options = options or RemoteOptions()
        self._clock: Clock = clock or LoopClock()
        self._draw = draw
        self._on_other_model = on_other_model or _warn_of_other_model
        self._dialect = Dialect()
        self._abilities = Abilities(concurrency=self._options.concurrency)
        self._probed = False
        self._broke: CompletionFailed | None = None
        self._named = False
        self._streams = self._options.stream
        self.gate = Gate(self._options.concurrency)

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    async def complete(self, request: Request) -> Completion:
        self._refuse_unsupported(request)
        completion = await self._answered(request)
        if len(completion.choices) < request.n and request.kind == "generate":
            completion = await self._filled(request, completion)
        return completion

    async def close(self) -> None:
        await self._transport.close()

    def stream_answers(self, on: bool) -> None:
        """Have the answers from now on streamed, or not; those that :class:`RemoteOptions` has streamed always are."""
        self._streams = on or self._options.stream

    async def models(self) -> dict[str, int | None]:
        """The models that the server lists, each with its context window where it tells it.

        Raises Unavailable where it cannot be reached or gives no list, CompletionFailed where it refuses to.
        """
        try:
            reply = await self._transport.exchange(
                "GET", MODELS, b"", seconds=min(30.0, self._options.timeout)
            )
        except TransportFailed as error:
            raise Unavailable(str(error), hint="is the server running, and is the URL right?") from None
        if reply.status != 200:
            fault = fault_of(reply.status, reply.headers, reply.body, now=self._clock.now())
            raise CompletionFailed(fault.kind, f"list of models: {fault.message}", hint=fault.hint)
        return _listed(reply.body)

    async def probe(self) -> Abilities:
        """Find out, once, what the server can do with the model: at most five small requests.

        Raises CompletionFailed or Unavailable where it cannot be asked at all.
        """
        if self._probed:
            return self._abilities
        await self._probe_window()
        sky = Request(model=self._model, prompt="The sky is", max_tokens=1, logprobs=1)
        if await self._try(replace(sky, kind="score", continuation=" blue")):
            self._know(complete=True)
        else:
            self._know(score=False, complete=await self._try(sky))
        hello = (Message(role="user", content="Hello"),)
        chats = await self._try(Request(model=self._model, messages=hello, max_tokens=8, logprobs=0))
        if not chats:
            chats = await self._try(Request(model=self._model, messages=hello, max_tokens=8))
            if chats and self._abilities.logprobs is None:
                self._know(logprobs=False)
        self._know(chat=chats)
        if not (chats or self._abilities.complete):
            if self._broke is not None:
                raise self._broke
            raise CompletionFailed(
                "unsupported",
                f"the server has neither completions nor a chat for the model '{self._model}'",
                hint="check the model's name and that the URL ends in /v1",
            )
        self._probed = True
        return self._abilities

    async def probe_tools(self) -> Abilities:
        """Find out, once, whether the server takes tools, by one small request. A server that passes over what it does
        not know cannot be told from one that does. Raises CompletionFailed where it cannot be asked at all."""
        if self._abilities.tools is None and self._abilities.chat is not False:
            hello = (Message(role="user", content="Hello"),)
            self._know(
                tools=await self._try(
                    Request(model=self._model, messages=hello, max_tokens=8, tools=(_ANY_TOOL,))
                )
            )
        return self._abilities

    async def _probe_window(self) -> None:
        try:
            listed = await self.models()
        except CompletionFailed as error:
            if error.kind == "not_authorized":
                raise
            return
        window = listed.get(self._model)
        if window:
            self._know(window=window)

    async def _try(self, request: Request) -> bool:
        """Whether the server answers such a request. Some servers break on what they do not know, in place of refusing
        it: a few 500s to one kind of request mean no, unless every kind gets them."""
        try:
            await self._answered(request, tries=_PROBE_TRIES)
        except CompletionFailed as error:
            if error.kind == "server_error":
                self._broke = error
            if error.kind in ("unsupported", "bad_request", "malformed", "too_long", "server_error"):
                log.info(
                    "remote.cannot kind=%s path=%s said=%s", request.kind, path_of(request), error.message
                )
                return False
            if error.kind != "refused":
                raise
        return True

    async def _answered(self, request: Request, tries: int | None = None) -> Completion:
        """One answer, asked for until it comes, cannot come, or was asked for often enough (``tries`` times, where the
        server breaks)."""
        attempts = 0
        failures: Counter[FailureKind] = Counter()
        queued = self._clock.elapsed()
        while True:
            attempts += 1
            await self.gate.enter()
            began = self._clock.elapsed()
            try:
                outcome = await self._attempt(request, began, queued, attempts)
                self._learn_load(outcome, began)
            finally:
                self.gate.leave()
            if isinstance(outcome, Completion):
                return outcome
            if self._learned(outcome, request):
                attempts -= 1
                continue
            failures[outcome.kind] += 1
            wait = self._wait(outcome, attempts, failures[outcome.kind])
            if tries is not None and failures["server_error"] >= tries:
                wait = None
            if wait is None:
                raise self._failed(outcome, request, attempts)
            log.info("remote.again kind=%s attempts=%d wait=%.2f", outcome.kind, attempts, wait)
            await self._clock.sleep(wait)

    async def _attempt(
        self, request: Request, began: float, queued: float, attempts: int
    ) -> Completion | Fault:
        options = self._options
        stream = self._streams and self._dialect.stream and request.kind == "generate"
        body = body_of(request, self._dialect, stream=stream)
        try:
            reply = await self._transport.exchange(
                "POST", path_of(request), body, seconds=options.timeout, timed=stream
            )
            if reply.status != 200:
                return fault_of(reply.status, reply.headers, reply.body, now=self._clock.now())
            payload, first = _payload(reply)
            fault = _hidden_fault(payload, self._clock.now())
            if fault is not None:
                return fault
            timing = Timing(queued=began - queued, first_token=first, total=self._clock.elapsed() - began)
            completion = completion_from(payload, request, timing, attempts)
        except TransportFailed as error:
            return Fault(kind=error.fault, message=str(error), again=True, overload=error.fault == "timeout")
        except Malformed as error:
            return Fault(kind="malformed", message=str(error), again=True)
        except NoLogprobs:
            self._know(complete=True, score=False)
            return Fault(kind="unsupported", message="the server does not score a given text")
        if all(choice.finish == "content_filter" and not choice.text for choice in completion.choices):
            return Fault(kind="refused", message="the server's content filter withheld the answer")
        self._learn(request, completion)
        return completion

    async def _filled(self, request: Request, completion: Completion) -> Completion:
        """The missing choices, asked for one after the other, of a server that gives fewer than it is asked for."""
        while (count := len(completion.choices)) < request.n:
            rest = replace(request, n=request.n - count, sample=request.sample + count)
            more = await self._answered(rest)
            completion = replace(
                completion,
                choices=(completion.choices + more.choices)[: request.n],
                prompt_tokens=_added(completion.prompt_tokens, more.prompt_tokens),
                completion_tokens=_added(completion.completion_tokens, more.completion_tokens),
                attempts=completion.attempts + more.attempts,
            )
        return completion

    def _refuse_unsupported(self, request: Request) -> None:
        can = self._abilities
        if request.kind == "score" and (can.score is False or request.prompt is None):
            raise CompletionFailed("unsupported", "the server does not score a given text")
        if request.prompt is not None and can.complete is False:
            raise CompletionFailed(
                "unsupported", "the server has no completions for this model", hint="ask it by chat"
            )
        if request.messages is not None and can.chat is False:
            raise CompletionFailed(
                "unsupported", "the server has no chat for this model", hint="ask it for completions"
            )

    def _learn(self, request: Request, completion: Completion) -> None:
        if request.kind == "score":
            self._know(complete=True, score=True, logprobs=True)
        elif request.logprobs is not None and completion.text and self._abilities.logprobs is None:
            self._know(logprobs=bool(completion.choices[0].tokens))
        if not self._named and completion.model and completion.model != request.model:
            self._named = True
            self._on_other_model(request.model, completion.model)

    def _learned(self, fault: Fault, request: Request) -> bool:
        """Whether the server's complaint taught how to ask it; then the request is sent again at once."""
        if fault.kind != "bad_request":
            return False
        new = learned(self._dialect, fault.message, scoring=request.kind == "score", several=request.n > 1)
        if new is None:
            return False
        log.info("remote.dialect said=%s", fault.message)
        self._dialect = new
        return True

    def _learn_load(self, outcome: Completion | Fault, began: float) -> None:
        is_fault = isinstance(outcome, Fault)
        self.gate.observe(
            began=began,
            ended=self._clock.elapsed(),
            overload=isinstance(outcome, Fault) and outcome.overload,
            answered=not is_fault,
        )

    def _wait(self, fault: Fault, attempts: int, times: int) -> float | None:
        retries = self._options.retries
        if not fault.again or not retries.bears(fault.kind, times):
            return None
        return retries.wait(attempts, self._draw(), fault.after)

    def _failed(self, fault: Fault, request: Request, attempts: int) -> CompletionFailed:
        if fault.no_route:
            if request.messages is not None:
                self._know(chat=False)
            else:
                self._know(complete=False, score=False)
        message, hint = fault.message, fault.hint
        if fault.after is not None and fault.after > self._options.retries.patience:
            hint = (
                f"the server wants to be left alone for {fault.after:.0f} seconds: go on later with --resume"
            )
        return CompletionFailed(fault.kind, message, hint=hint, attempts=attempts)

    def _know(self, **facts: Any) -> None:
        can = self._abilities
        new = {name: value for name, value in facts.items() if getattr(can, name) != value}
        if new:
            self._abilities = replace(can, **new)


def remote(
    base_url: str,
    *,
    model: str,
    key: str | None = None,
    options: RemoteOptions | None = None,
    on_other_model: Callable[[str, str], None] | None = None,
) -> RemoteCompleter:
    """A completer for the server at ``base_url``, which ends in ``/v1`` as a rule. Raises ConfigError."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    options = options or RemoteOptions()
    transport = _transport(base_url, headers, options)
    return RemoteCompleter(transport, model=model, options=options, on_other_model=on_other_model)


def _transport(base_url: str, headers: Mapping[str, str], options: RemoteOptions) -> Transport:
    if not options.proxy:
        return HttpTransport(base_url, headers)
    from commonweal.evals.completers.proxied import ProxiedTransport

    return ProxiedTransport(base_url, headers, proxy=options.proxy, connections=options.concurrency)


def _payload(reply: Reply) -> tuple[Any, float | None]:
    """The answer's JSON, and when the first token came if it was streamed."""
    if reply.pieces and "event-stream" in reply.headers.get("content-type", ""):
        streamed = joined(reply.pieces)
        return streamed.payload, streamed.first_token
    try:
        return _read(reply.body), None
    except (ValueError, RecursionError):
        shown = reply.body[:80].decode("utf-8", "replace")
        raise Malformed(f"the answer is not JSON: {shown!r}") from None


def _read(body: bytes) -> Any:
    """orjson reads in a tenth of json's time, but for what only json takes: numbers that are not finite."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _hidden_fault(payload: Any, now: float) -> Fault | None:
    """Some gateways answer 200 and put the error into the body."""
    if not isinstance(payload, dict) or "choices" in payload or not payload.get("error"):
        return None
    error = payload["error"]
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return fault_of(status, {}, json.dumps(payload).encode(), now=now)


def _listed(body: bytes) -> dict[str, int | None]:
    try:
        return {str(entry["id"]): _window(entry) for entry in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unavailable(
            "the server's list of models is not one", hint="does the URL end in /v1, as a rule?"
        ) from None


def _window(entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")
    for place in (entry, meta if isinstance(meta, dict) else {}):
        for name in _WINDOWS:
            value = place.get(name)
            if isinstance(value, int) and value > 0:
                return value
    return None


def _added(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _warn_of_other_model(asked: str, answered: str) -> None:
    log.warning("remote.other_model asked=%s answered=%s", asked, answered)
