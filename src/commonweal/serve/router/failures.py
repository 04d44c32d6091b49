"""What can become of an ask that no worker answered, as errors for the caller."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from commonweal.core.completion import CompletionFailed, FailureKind
from commonweal.core.errors import CommonwealError, Overloaded, Unavailable
from commonweal.serve.gateway.frames import HANDED_BACK, Failure
from commonweal.serve.router.inbox import TOO_SLOW, WORKER_LOST

_ELSEWHERE: Collection[str] = frozenset(
    (HANDED_BACK, WORKER_LOST, "server_error", "unreachable", "timeout", "rate_limited", "malformed")
)


class WorkerLost(CompletionFailed):
    """The worker went away, and part of the answer was out already, so nobody else can go on with it."""

    code = "worker_lost"

    def __init__(self, message: str) -> None:
        super().__init__("unreachable", message, hint="ask again: another worker begins anew")


class TooSlow(CompletionFailed):
    """Who asked did not read the answer."""

    code = "too_slow"

    def __init__(self, message: str) -> None:
        super().__init__("bad_request", message, hint="read the stream as it comes, or ask for less at once")


def elsewhere(failure: Failure) -> bool:
    """Whether another worker may do better."""
    return failure.kind in _ELSEWHERE


def error_of(failure: Failure, *, begun: bool) -> CommonwealError:
    """The error that a failure is for the caller."""
    if failure.kind == TOO_SLOW:
        return TooSlow(failure.message)
    if begun and elsewhere(failure):
        return WorkerLost(f"the worker was lost in the middle of its answer: {failure.message}")
    if failure.kind == "rate_limited":
        return Overloaded(failure.message or "all workers are busy", retry_after=2.0)
    if failure.kind in (WORKER_LOST, HANDED_BACK):
        return Unavailable(
            "the workers that serve this model went away", hint="try again: others may be back"
        )
    return CompletionFailed(cast(FailureKind, failure.kind), failure.message)
