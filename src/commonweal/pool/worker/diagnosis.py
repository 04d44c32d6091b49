"""What an exception means for the unit it ended: which failure the hub is told, and whether the agent goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonweal.core.errors import CommonwealError, NotAuthorized, Overloaded, StorageFull, Unavailable
from commonweal.pool.worker.answers import CLIENT_TOO_OLD
from commonweal.pool.worker.executors import Unsupported

Failure = Literal["", "out_of_memory", "error", "unsupported", "disk_full"]
_MESSAGE_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """``failure`` is '' where it is nobody's fault on this machine."""

    failure: Failure
    message: str


def diagnose(error: BaseException) -> Diagnosis:
    """The failure that ``error`` stands for.

    >>> diagnose(MemoryError()).failure, diagnose(KeyError("layers")).message
    ('out_of_memory', "KeyError: 'layers'")
    """
    return Diagnosis(failure=_failure(error), message=_message(error)[:_MESSAGE_LIMIT])


def is_final(error: BaseException) -> bool:
    """Whether the hub would refuse everything else from this member as well."""
    return isinstance(error, NotAuthorized) or (
        isinstance(error, CommonwealError) and error.code == CLIENT_TOO_OLD
    )


def _failure(error: BaseException) -> Failure:
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, StorageFull):
        return "disk_full"
    if _is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, Unavailable | Overloaded):
        return ""
    return "error"


def _is_out_of_memory(error: BaseException) -> bool:
    """torch has its own words for it, one for GPUs and one for processors; both are RuntimeErrors."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _message(error: BaseException) -> str:
    if isinstance(error, CommonwealError):
        return error.message
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
