"""The energy of a batch, divided among its answers.

Each answer gets the share of its tokens, read and written, in all tokens of the batch: what was computed for several
at once (a common prompt) is nobody's more than another's. Nothing is subtracted for what the machine would have taken
anyway, and what others made it do meanwhile is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec

from commonweal.core.completion import Completion
from commonweal.evals.energy.meter import Meter

P = ParamSpec("P")


def metering(compute: Callable[P, list[Completion]], meter: Meter) -> Callable[P, list[Completion]]:
    """``compute``, whose completions have their joules. Where the meter fails, they have none: never a wrong one."""

    def measured(*args: P.args, **kwargs: P.kwargs) -> list[Completion]:
        before = _read(meter)
        made = compute(*args, **kwargs)
        after = _read(meter)
        return made if before is None or after is None else shared(made, after - before)

    return measured


def shared(completions: Sequence[Completion], joules: float) -> list[Completion]:
    """The completions with their shares of ``joules``; equal ones where no tokens were counted.

    >>> from commonweal.core.completion import Choice
    >>> made = [Completion(choices=(Choice(text=""),), prompt_tokens=n, completion_tokens=1) for n in (5, 1)]
    >>> [one.joules for one in shared(made, 4.0)]
    [3.0, 1.0]
    """
    tokens = [(one.prompt_tokens or 0) + (one.completion_tokens or 0) for one in completions]
    if not any(tokens):
        tokens = [1] * len(completions)
    each = joules / max(1, sum(tokens))
    return [replace(one, joules=each * count) for one, count in zip(completions, tokens, strict=True)]


def _read(meter: Meter) -> float | None:
    try:
        return meter.joules()
    except OSError:
        return None
