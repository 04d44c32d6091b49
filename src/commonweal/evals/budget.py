"""What a run may use, what it has used, and what it will need: requests, tokens, money, time.

Pure arithmetic; the clock's reading is passed in. Money is in US dollars and is only counted where prices are known;
a completion that came from a cache costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from commonweal.core.completion import Completion
from commonweal.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for a million tokens read and for a million written."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """
        >>> Prices(prompt=1.0, completion=4.0).cost(500_000, 250_000)
        1.5
        """
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


LISTED: Mapping[str, Prices] = {
    "openai/gpt-4o-mini": Prices(prompt=0.15, completion=0.60),
    "openai/gpt-4o": Prices(prompt=2.50, completion=10.00),
    "openai/gpt-4.1-nano": Prices(prompt=0.10, completion=0.40),
    "openai/gpt-4.1-mini": Prices(prompt=0.40, completion=1.60),
    "openai/gpt-4.1": Prices(prompt=2.00, completion=8.00),
}
"""List prices of about mid-2025 by the beginning of the model's name, not checked against the provider's page: good for
an estimate. Give ``--price-in`` and ``--price-out`` where cost matters; they take precedence."""


def listed_prices(model: str) -> Prices | None:
    """The longest entry that ``model`` begins with.

    >>> listed_prices("openai/gpt-4o-mini-2024-07-18").prompt
    0.15
    """
    found = [name for name in LISTED if model.startswith(name)]
    return LISTED[max(found, key=len)] if found else None


def prices_of(prompt: float | None, completion: float | None) -> Prices | None:
    """The user's prices, None where none were given. Raises UserError for one alone."""
    if prompt is None and completion is None:
        return None
    if prompt is None or completion is None:
        raise UserError(
            "--price-in and --price-out belong together", hint="give both, 0 for what costs nothing"
        )
    return Prices(prompt=prompt, completion=completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """At most so much, over all runs of an evaluation; None is no limit. ``cost`` in US dollars, ``seconds`` of this
    process."""

    cost: float | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Spent:
    """What was used so far, and by whom: ``models`` are the names that the answers say they are of. ``cost`` stays 0
    where no price is known."""

    prices: Prices | None = None
    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    joules: float = 0.0
    samples: int = 0
    models: set[str] = field(default_factory=set)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def add(self, completion: Completion) -> None:
        self.requests += 1
        if completion.model:
            self.models.add(completion.model)
        if completion.cached:
            self.cached += 1
            return
        prompt, written = completion.prompt_tokens or 0, completion.completion_tokens or 0
        self.prompt_tokens += prompt
        self.completion_tokens += written
        self.joules += completion.joules or 0.0
        if self.prices:
            self.cost += self.prices.cost(prompt, written)

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "cached": self.cached,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "dollars": round(self.cost, 6) if self.prices else None,
            "joules": self.joules or None,
        }


def check_limits(limits: Limits, prices: Prices | None) -> None:
    """Raises UserError for a limit that could never be kept."""
    if limits.cost is not None and prices is None:
        raise UserError(
            "--max-cost: what this model costs is not known", hint="give --price-in and --price-out as well"
        )


def used_up(limits: Limits, spent: Spent, in_flight: int, seconds: float) -> str:
    """Why no further sample may be begun; "" while one may.

    What is in flight is counted at the mean of what is finished, so that money is not spent beyond the limit by a
    whole round of concurrent requests; before the first has finished, nothing is known of it.
    """
    ahead = 1 + in_flight / spent.samples if spent.samples else 1.0
    if limits.seconds is not None and seconds >= limits.seconds:
        return f"--max-time: the limit of {limits.seconds:g} s"
    if limits.cost is not None and spent.cost * ahead >= limits.cost:
        return f"--max-cost: the limit of {limits.cost:g} dollars"
    if limits.tokens is not None and spent.tokens * ahead >= limits.tokens:
        return f"--max-tokens: the limit of {limits.tokens} tokens"
    return ""


MIN_SAMPLES = 20


def too_many_failures(failed: int, finished: int, rate: float) -> bool:
    """Whether more than ``rate`` of at least MIN_SAMPLES samples failed.

    >>> too_many_failures(1, 1, 0.1), too_many_failures(2, 20, 0.1), too_many_failures(3, 20, 0.1)
    (False, False, True)
    """
    return finished >= MIN_SAMPLES and failed > rate * finished


def is_hopeless(failed: int, finished: int, rate: float) -> bool:
    """Whether so many failed that a run is given up before its end: more than two standard deviations above what
    chance makes of ``rate``, so that a few early failures do not end a run that would have ended well.

    >>> is_hopeless(4, 20, 0.1), is_hopeless(5, 20, 0.1), is_hopeless(1, 20, 0.0)
    (False, True, True)
    """
    chance = rate * finished + 2 * (rate * (1 - rate) * finished) ** 0.5
    return finished >= MIN_SAMPLES and failed > chance
