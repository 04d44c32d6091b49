"""How much an account may ask: requests and tokens a minute, counted by :mod:`limits`, told in OpenAI's headers.

Every hub process counts for itself and grants its share of the limits, so that several together grant the whole; an
account whose connections all land on one process gets that share only. Tokens are counted twice: an estimate of the
prompt's (four bytes a token) when a request is admitted, and what it took beyond that when it is answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter

from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.counters import Counters

_BYTES_A_TOKEN = 4


def estimated_tokens(body: bytes) -> int:
    """About how many tokens a request's body has."""
    return len(body) // _BYTES_A_TOKEN + 1


class Rates:
    """Counts by account, in fixed windows of a minute."""

    def __init__(self, *, requests: int, tokens: int, processes: int = 1) -> None:
        self._requests = RateLimitItemPerMinute(max(1, requests // processes), namespace="requests")
        self._tokens = RateLimitItemPerMinute(max(1, tokens // processes), namespace="tokens")
        self._limiter = FixedWindowRateLimiter(Counters())

    def admit(self, account: str, tokens: int) -> None:
        """Count a request of so many tokens. Raises ApiError (429) where that is more than the account may."""
        if not self._limiter.hit(self._requests, account):
            raise self._refusal(account, self._requests, "requests")
        if not self._limiter.test(self._tokens, account, cost=tokens):  # what is refused is not counted
            raise self._refusal(account, self._tokens, "tokens")
        self._limiter.hit(self._tokens, account, cost=tokens)

    def charge(self, account: str, tokens: int) -> None:
        """Count tokens that were made, after the fact."""
        if tokens > 0:
            self._limiter.hit(self._tokens, account, cost=tokens)

    def headers(self, account: str) -> dict[str, str]:
        """``x-ratelimit-*``: limit, what remains, and when the window ends."""
        now = time.time()
        told: dict[str, str] = {}
        for name, limit in (("requests", self._requests), ("tokens", self._tokens)):
            reset, remaining = self._limiter.get_window_stats(limit, account)
            told[f"x-ratelimit-limit-{name}"] = str(limit.amount)
            told[f"x-ratelimit-remaining-{name}"] = str(max(0, remaining))
            told[f"x-ratelimit-reset-{name}"] = f"{max(0.0, reset - now):.3f}s"
        return told

    def _refusal(self, account: str, limit: RateLimitItemPerMinute, unit: str) -> ApiError:
        wait = max(0.001, self._limiter.get_window_stats(limit, account).reset_time - time.time())
        again: Mapping[str, str] = {
            "Retry-After": str(int(wait) + 1),
            "retry-after-ms": str(round(1000 * wait) + 1),
        }
        return ApiError(
            f"Rate limit reached: {limit.amount} {unit} a minute. Please try again in {wait:.1f}s.",
            status=429,
            type=unit,
            code="rate_limit_exceeded",
            headers={**self.headers(account), **again},
        )
