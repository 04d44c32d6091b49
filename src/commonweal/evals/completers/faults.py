"""What an answer that is no completion means: which failure it is, and whether asking again can help. Pure.

Asked again: 408, 409, 425, 429 and 5xx, and what the server marks so (``x-should-retry``). Never: any other 4xx, and
a 429 that says the account is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from commonweal.core.completion import FailureKind
from commonweal.core.openai_words import message_of, says_too_long

_REFUSED = re.compile(
    r"content_filter|content_policy|content management policy|safety system|moderation", re.IGNORECASE
)
_EMPTY = re.compile(r"insufficient_quota|exceeded your current quota|insufficient (?:balance|credit)", re.I)
_NO_ROUTE = (404, 405, 501)
_NO_MODEL = re.compile(
    r"model\b.{0,200}\b(?:not exist|not found|unknown|not available)|model_not_found|unknown model|no such model",
    re.IGNORECASE | re.DOTALL,
)
_AGAIN = frozenset((408, 409, 425, 429))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``again`` is whether to ask again; ``after`` the seconds that the server wants to be left alone, None where it
    says nothing. ``no_route`` is that it does not have the address at all (and not that it lacks the model);
    ``overload`` that it has too much to do."""

    kind: FailureKind
    message: str
    again: bool = False
    after: float | None = None
    no_route: bool = False
    overload: bool = False
    hint: str | None = None


def fault_of(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Fault:
    """What an answer with ``status`` (not 200) means. ``now`` is in seconds since the epoch."""
    said = message_of(body)
    text = f"{status}: {said}" if said else f"{status}"
    again = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    if status == 429 and _EMPTY.search(said):
        return Fault(kind="budget", message=text, hint="the account at this provider has no credit left")
    if status in _AGAIN or status >= 500 or again:
        return Fault(
            kind="rate_limited" if status == 429 else "timeout" if status == 408 else "server_error",
            message=text,
            again=(status != 501) if again is None else again,
            after=retry_after(headers, now=now),
            no_route=status == 501,
            overload=status in (429, 502, 503, 504, 529),
        )
    return _refusal_of(status, headers, said, text)


def _refusal_of(status: int, headers: Mapping[str, str], said: str, text: str) -> Fault:
    if status in (401, 403):
        return Fault(kind="not_authorized", message=text, hint="give the key that this server wants")
    if 300 <= status < 400:
        there = headers.get("location", "another address")
        return Fault(kind="bad_request", message=text, hint=f"the server points to {there}: give that URL")
    if status in _NO_ROUTE:
        return _missing(text, unknown_model=_NO_MODEL.search(said) is not None)
    if says_too_long(status, said):
        return Fault(kind="too_long", message=text)
    if _REFUSED.search(said):
        return Fault(kind="refused", message=text)
    return Fault(kind="bad_request", message=text)


def _missing(text: str, *, unknown_model: bool) -> Fault:
    if unknown_model:
        return Fault(
            kind="bad_request", message=text, hint="the server does not know this model: check its name"
        )
    return Fault(kind="unsupported", message=text, no_route=True)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as an HTTP date (RFC 9110, 10.2.3).

    >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, now=10.0)
    20.0
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
            return float(text) * scale
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
