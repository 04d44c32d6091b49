"""Whether a worker's log-probabilities are the model's: pure statistics of two columns of numbers.

For tokens that a worker chose it said how likely each was; a trusted machine says it again. The same weights on
another machine differ by rounding: by 0.00001 nats in float32, by about 0.01 in bfloat16. A model that lacks a layer
or is another one differs by half a nat and more, one cut to four bits by some hundredths. So the mean difference
decides, with two shares beside it, because a mean is moved by one outlier and a share is not: of tokens clearly
``apart``, and of ``strange`` ones, which the model would not have chosen: a worker may answer with a cheap model and
report what the dear one says. What is between is unclear; it is paid, and remembered, and many unclear answers
together are clear again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from commonweal.core.completion import Request, Token

Verdict = Literal["match", "mismatch", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Nats, and shares of tokens. Below ``few`` tokens three times as much is allowed. ``pooled`` is for the mean over
    at least ``pool`` tokens of several answers. A greedy choice is strange if it is ``behind`` the likeliest by more;
    a sampled one if it is less likely than ``unlikely`` (above temperature 1, anything may be chosen)."""

    fine: float = 0.02
    mean: float = 0.06
    apart_by: float = 0.3
    apart: float = 0.1
    behind: float = 0.5
    unlikely: float = -12.0
    strange: float = 0.1
    few: int = 8
    pool: int = 400
    pooled: float = 0.03

    def for_rounding(self, nats: float | None) -> Limits:
        """The limits for a model that rounding to bfloat16 changes by ``nats``: an honest member differs by about as
        much, and one that serves four bits by four to six times as much."""
        if nats is None:
            return self
        return replace(self, fine=3.0 * nats, mean=9.0 * nats, pooled=2.5 * nats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    tokens: int
    mean: float
    worst: float
    apart: float
    strange: float


NOTHING = Comparison(tokens=0, mean=0.0, worst=0.0, apart=0.0, strange=0.0)
UNREPORTED = Comparison(tokens=0, mean=math.inf, worst=math.inf, apart=1.0, strange=0.0)
"""The worker did not say what it chose, though it was asked."""


def compare(
    reported: Sequence[Token], found: Sequence[Token], request: Request, limits: Limits
) -> Comparison:
    """Token by token. ``found`` has the same tokens as the trusted machine scores them."""
    count = len(reported)
    if count != len(found):
        raise ValueError(f"{count} tokens were to be scored, and {len(found)} were")
    if not count:
        return NOTHING
    if any(token.logprob is None for token in reported):
        return UNREPORTED
    differences = [abs(_logprob(a) - _logprob(b)) for a, b in zip(reported, found, strict=True)]
    strange = 0 if _constrained(request) else sum(_strange(token, request, limits) for token in found)
    return Comparison(
        tokens=count,
        mean=sum(min(d, 20.0) for d in differences) / count,
        worst=max(differences),
        apart=sum(d > limits.apart_by for d in differences) / count,
        strange=strange / count,
    )


def judge(one: Comparison, before: Sequence[Comparison], limits: Limits) -> Verdict:
    """The verdict on an answer; ``before`` are the unclear and matching ones of the same member and model."""
    if math.isinf(one.mean):
        return "mismatch"
    if not one.tokens:
        return "unclear"
    slack = 3.0 if one.tokens < limits.few else 1.0
    if (
        one.mean > limits.mean * slack
        or one.apart > limits.apart * slack
        or one.strange > limits.strange * slack
    ):
        return "mismatch"
    if one.mean <= limits.fine:
        return "match"
    known = [one, *before]
    tokens = sum(each.tokens for each in known)
    pooled = sum(each.mean * each.tokens for each in known) / tokens
    return "mismatch" if tokens >= limits.pool and pooled > limits.pooled else "unclear"


def _logprob(token: Token) -> float:
    return -100.0 if token.logprob is None else token.logprob


def _strange(token: Token, request: Request, limits: Limits) -> bool:
    logprob = _logprob(token)
    if request.temperature > 0:
        return request.temperature <= 1 and logprob < limits.unlikely
    return bool(token.top) and max(token.top.values()) - logprob > limits.behind


def _constrained(request: Request) -> bool:
    """Whether something else than the model had a say in the choice."""
    return bool(request.schema is not None or request.tools or request.bias or any(request.penalties))
