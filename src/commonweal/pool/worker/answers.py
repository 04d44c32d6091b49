"""From HTTP to the tree of errors: what a hub's (or a proxy's, or a store's) answer means to the member.

The status finds the class, since what stands in between knows no more; the hub's ``code`` is kept, and tells
apart what has one status. A hub whose disk is full is Unavailable here, because StorageFull means *this* disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from commonweal.core.errors import (
    CommonwealError,
    Conflict,
    CorruptBlob,
    InvalidContribution,
    NotAuthorized,
    NotFound,
    Overloaded,
    Unavailable,
    UserError,
)
from commonweal.pool import wire

LONGEST_RETRY_AFTER = 300.0
CLIENT_TOO_OLD = "client_too_old"
_SMALL = 64 * 1024

_BY_CODE: dict[str, type[CommonwealError]] = {
    CorruptBlob.code: CorruptBlob,
    InvalidContribution.code: InvalidContribution,
}
_BY_STATUS: dict[int, type[CommonwealError]] = {
    401: NotAuthorized,
    403: NotAuthorized,
    404: NotFound,
    409: Conflict,
    410: NotFound,
}


@contextmanager
def reached(whom: str) -> Iterator[None]:
    """Translate the network's failures. Anything raised by the body that is not the network's passes."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unavailable(f"{whom} did not answer in time ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{whom} cannot be reached: {str(error) or type(error).__name__}") from error


def check(response: httpx.Response) -> None:
    """Raise the error that a hub's ``response`` stands for, if it does. The body must be read already."""
    if response.is_success:
        return
    if response.is_redirect:
        raise UserError(
            f"the hub has moved to {response.headers.get('Location', 'another address')}",
            hint="use that address",
        )
    raise _translate(response, detail(response))


def check_stored(response: httpx.Response) -> None:
    """The same for a store behind a pre-signed URL, whose refusals mean at most that the URL is too old."""
    if response.status_code == 404:
        raise NotFound("the store has no such blob")
    if not response.is_success:
        raise Unavailable(f"the store answered {response.status_code}")


def detail(response: httpx.Response) -> wire.ErrorBody.Detail:
    """The error as the hub describes it, or made up from the status where it does not."""
    try:
        return wire.ErrorBody.model_validate_json(response.content[:_SMALL]).error
    except ValidationError:
        message = f"the hub answered {response.status_code} {response.reason_phrase}"
        return wire.ErrorBody.Detail(message=message, type="", code="")


def _translate(response: httpx.Response, told: wire.ErrorBody.Detail) -> CommonwealError:
    status = response.status_code
    if status == 429 or (status == 503 and "Retry-After" in response.headers):
        seconds = retry_after(response.headers.get("Retry-After", "1"), time.time())
        return Overloaded(told.message, retry_after=seconds, hint=told.hint)
    if status == 426:
        return too_old(told.message, told.hint)
    if status >= 500 or status in (408, 425):
        return Unavailable(told.message, hint=told.hint)
    kind = _BY_CODE.get(told.code) or _BY_STATUS.get(status, UserError)
    return _coded(kind(told.message, hint=told.hint), told.code or kind.code)


def too_old(message: str, hint: str | None = None) -> UserError:
    """This client must be upgraded before the hub talks to it."""
    error = UserError(message, hint=hint or "upgrade it: pip install --upgrade commonweal")
    error.code = CLIENT_TOO_OLD
    return error


def _coded(error: CommonwealError, code: str) -> CommonwealError:
    error.code = code
    return error


def retry_after(text: str, now: float) -> float:
    """Seconds to wait for a Retry-After header, which is a number or a date (RFC 9110 10.2.3).

    >>> retry_after("7", now=0.0)
    7.0
    >>> retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=50.0)
    10.0
    >>> retry_after("soon", now=0.0)
    1.0
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return 1.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else 1.0
