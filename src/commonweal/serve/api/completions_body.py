"""The body of ``POST /v1/completions``, and what it asks of a model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from commonweal.core.completion import Request
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.prompts import Prompt, Prompts, prompts_of
from commonweal.serve.api.sampling_body import MOST_CHOICES, MOST_TOKENS, SamplingBody, sampling_of
from commonweal.serve.catalogue import ServedModel

DEFAULT_TOKENS = 16  # OpenAI's
MOST_STOPS = 16  # OpenAI's is 4; evaluation harnesses send more
MOST_ANSWERS = 2048


class CompletionBody(SamplingBody):
    """A request for what comes after a text."""

    prompt: Prompts
    max_tokens: int | None = Field(default=None, ge=0, le=MOST_TOKENS)
    echo: bool | None = Field(default=None, description="Begin the answer with the prompt.")
    logprobs: int | None = Field(default=None, ge=0, le=20, description="Alternatives a token, up to 20.")
    best_of: int | None = Field(
        default=None, ge=1, le=MOST_CHOICES, description="Not supported, except equal to `n`."
    )
    suffix: str | None = Field(default=None, description="Not supported.")


def completion_requests(body: CompletionBody, model: ServedModel) -> list[Request]:
    """What is asked, one request a prompt. Raises ApiError."""
    n = body.n or 1
    if body.best_of is not None and body.best_of != n:
        raise ApiError(
            "'best_of' is not supported by this server; ask for 'n' answers and choose among them.",
            param="best_of",
            code="unsupported",
        )
    if body.suffix:
        raise ApiError("'suffix' is not supported by this server.", param="suffix", code="unsupported")
    limit = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    if limit == 0 and not body.echo:
        raise ApiError("'max_tokens' may be 0 only with 'echo'.", param="max_tokens")
    prompts = prompts_of(body.prompt, "prompt")
    if len(prompts) * n > MOST_ANSWERS:
        raise ApiError(f"{len(prompts)} prompts times 'n' are more than {MOST_ANSWERS} answers.", param="n")
    asked = Request(
        model=model.name,
        prompt="",
        max_tokens=limit,
        logprobs=body.logprobs,
        **sampling_of(body, most_stops=MOST_STOPS),
    )
    return [_with(asked, prompt) for prompt in prompts]


def echo_requests(body: CompletionBody, requests: Sequence[Request]) -> list[Request | None]:
    """What tells the prompts' own tokens, where an echo needs them: for log-probabilities, or the text of ids."""
    return [
        _scored(request) if body.echo and (body.logprobs is not None or request.ids) else None
        for request in requests
    ]


def _with(request: Request, prompt: Prompt) -> Request:
    return replace(request, prompt=prompt) if isinstance(prompt, str) else replace(request, ids=prompt)


def _scored(request: Request) -> Request:
    """The prompt as the continuation of nothing."""
    return Request(
        model=request.model,
        kind="score",
        prompt="",
        continuation=request.prompt or "",
        ids=request.ids,
        logprobs=request.logprobs or 0,
        max_tokens=0,
    )


def legacy_logprobs(tokens: Sequence[Any], offset: int = 0) -> dict[str, Any]:
    """Log-probabilities as completions tell them: four lists, and where in the text each token begins."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) if token.logprob is not None else None for token in tokens],
        "text_offset": offsets,
    }
