"""A model that is not there: answers by a pure function of the request, at once, for tests and demonstrations.

It knows no network, no clock (unless told to be slow) and no tokenizer: a token is a word with the space before it.
The same seed and request give the same answer, in any order and in any process.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from commonweal.core.completion import (
    Abilities,
    Choice,
    Completion,
    CompletionFailed,
    FailureKind,
    Request,
    Token,
)
from commonweal.core.errors import ConfigError
from commonweal.evals.energy.meter import Energy

Answer = Callable[[Request], "str | Choice"]

REFUSAL = "I'm sorry, but I can't help with that."
_WORDS = (
    "the",
    "of",
    "to",
    "and",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "on",
    "as",
    "his",
    "they",
    "at",
    "be",
)
_TOKEN = re.compile(r"\s*\S+|\s+\Z")
_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def tokens_of(text: str) -> list[str]:
    """The mock's tokens: words with the white space before them; joined again they are ``text``.

    >>> tokens_of("one two")
    ['one', ' two']
    """
    return _TOKEN.findall(text)


class WordCounter:
    """Counts the mock's tokens."""

    def count(self, text: str) -> int:
        return len(tokens_of(text))

    def truncate(self, text: str, tokens: int) -> str:
        """The first ``tokens`` tokens of ``text``."""
        return "".join(tokens_of(text)[:tokens])


class MockCompleter:
    """Answers each request by ``answer`` (default: random words, or a random option of a lettered list).

    ``fail_rate`` of the requests, chosen by their content, fail with ``failure``; ``latency`` is in seconds. A scored
    continuation that equals the answer gets a log-probability near 0 a token, any other one a lower.
    """

    energy = Energy(reason="the mock computes nothing that could take energy")

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        seed: int = 0,
        fail_rate: float = 0.0,
        failure: FailureKind = "bad_request",
        latency: float = 0.0,
        abilities: Abilities | None = None,
    ) -> None:
        self._seed = str(seed)
        self._answer = answer or random_answer(seed)
        self._fail_rate = fail_rate
        self._failure: FailureKind = failure
        self._latency = latency
        self._abilities = abilities or Abilities(
            score=True, logprobs=True, complete=True, chat=True, images=True, tools=True, window=8192
        )
        self.asked = 0

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    async def probe(self) -> Abilities:
        """What is known already."""
        return self._abilities

    def token_counter(self) -> WordCounter:
        """Counts words."""
        return WordCounter()

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        if self._fail_rate and _fraction(self._seed, "fail", key_of(request)) < self._fail_rate:
            raise CompletionFailed(self._failure, "the mock model was told to fail here")
        if request.kind == "score":
            return self._scored(request)
        return self._generated(request)

    async def close(self) -> None:
        pass

    def _scored(self, request: Request) -> Completion:
        prompt, continuation = key_of(request), request.continuation
        wanted = self._answer(request)
        liked = (wanted if isinstance(wanted, str) else wanted.text).strip() == continuation.strip()
        low = -0.1 if liked else -1.0 - 6.0 * _fraction(self._seed, prompt, continuation)
        tokens = tuple([Token(text=text, logprob=low) for text in tokens_of(continuation)])
        choice = Choice(text=continuation, tokens=tokens, logprob=low * len(tokens), greedy=liked)
        counted = len(prompt.split())
        return Completion(choices=(choice,), model=request.model, prompt_tokens=counted, completion_tokens=0)

    def _generated(self, request: Request) -> Completion:
        asked = [replace(request, sample=request.sample + i) if i else request for i in range(request.n)]
        choices = tuple([self._choice(one) for one in asked])
        written = sum(len(tokens_of(choice.text)) for choice in choices)
        counted = len(key_of(request).split())
        return Completion(
            choices=choices, model=request.model, prompt_tokens=counted, completion_tokens=written
        )

    def _choice(self, request: Request) -> Choice:
        answer = self._answer(request)
        if not isinstance(answer, str):
            return answer
        pieces = tokens_of(answer)
        finish = "length" if len(pieces) > request.max_tokens else "stop"
        text = "".join(pieces[: request.max_tokens])
        for stop in request.stop:
            if stop in text:
                text, finish = text[: text.index(stop)], "stop"
        if request.logprobs is None:
            return Choice(text=text, finish="length" if finish == "length" else "stop")
        tokens = tuple([_token(self._seed, piece, request.logprobs) for piece in tokens_of(text)])
        return Choice(
            text=text,
            finish="length" if finish == "length" else "stop",
            tokens=tokens,
            logprob=sum(token.logprob or 0.0 for token in tokens),
        )


@lru_cache(maxsize=4096)
def _token(seed: str, text: str, alternatives: int) -> Token:
    logprob = -0.01 - 0.6 * _fraction(seed, "token", text)
    top = {text: logprob}
    for i in range(alternatives - 1):
        top[" " + _WORDS[i % len(_WORDS)]] = logprob - 1.0 - i
    return Token(text=text, logprob=logprob, top=top if alternatives else {})


def key_of(request: Request) -> str:
    """The text that a request asks about: its prompt, or what the last message says."""
    if request.prompt is not None:
        return request.prompt
    return request.messages[-1].content if request.messages else ""


def random_answer(seed: int = 0) -> Answer:
    """A random option's letter where the prompt ends with a lettered list ("A. ..."), else up to 8 random words."""

    def answer(request: Request) -> str:
        key = key_of(request)
        drawn = _digest(str(seed), key, str(request.sample if request.temperature else 0))
        options = _last_options(key)
        if options:
            return " " + options[drawn[0] % len(options)]
        return "".join([" " + _WORDS[byte % len(_WORDS)] for byte in drawn[1 : 2 + drawn[0] % 8]])

    return answer


def constant_answer(text: str) -> Answer:
    """``text`` to every request."""
    return lambda request: text


def mapped_answer(answers: Mapping[str, str], otherwise: str = "") -> Answer:
    """What ``answers`` gives for the prompt (or for what the last message says), else ``otherwise``."""
    return lambda request: answers.get(key_of(request), otherwise)


def mock_of(mode: str, *, seed: int = 0) -> MockCompleter:
    """The mock that ``mock:MODE`` names: "" or "random", "refuses", "empty", "always=TEXT", "fails=RATE".

    Raises ConfigError for any other mode.
    """
    name, _, value = mode.partition("=")
    if name in ("", "random") and not value:
        return MockCompleter(seed=seed)
    if name == "refuses" and not value:
        return MockCompleter(constant_answer(REFUSAL), seed=seed)
    if name == "empty" and not value:
        return MockCompleter(constant_answer(""), seed=seed)
    if name == "always":
        return MockCompleter(constant_answer(value), seed=seed)
    if name == "fails":
        return MockCompleter(seed=seed, fail_rate=_rate(value))
    raise ConfigError(
        f"model: 'mock:{mode}' is no mode of the mock model",
        hint="modes: mock, mock:random, mock:refuses, mock:empty, mock:always=TEXT, mock:fails=0.01",
    )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(f"model: mock:fails={text}: not a rate between 0 and 1", hint="mock:fails=0.01")
    return rate


def _last_options(text: str) -> list[str]:
    """The letters of the last list of options, [] where there is none."""
    start = text.rfind("\nA. ")
    letters = _OPTION.findall(text, start + 1) if start >= 0 else []
    wanted = [chr(ord("A") + i) for i in range(len(letters))]
    return letters if letters == wanted and len(letters) > 1 else []


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _fraction(*parts: str) -> float:
    return int.from_bytes(_digest(*parts)[:7], "big") / (1 << 56)
