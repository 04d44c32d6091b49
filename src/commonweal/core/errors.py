"""The tree of errors.

Everything Commonweal raises on purpose descends from :class:`CommonwealError`, so a caller can catch all of
it, and the two shells (the command line and the HTTP API) can translate it without knowing who raised it.
Each error carries a message for a person, and what that person can do next (``hint``).

    CommonwealError
      UserError             the request, the file or the flag is wrong; the fix is the user's
        ConfigError         a setting: which file, which field
        DataError           a data file: which file, which line
      Refused               the request is well formed, but not allowed or not possible now
        NotAuthorized       no key, or the wrong one
        NotFound            no such job, member, blob
        Conflict            a stale lease, a changed state, a second submit
        InsufficientCredits
        Overloaded          try again later (``retry_after`` seconds)
      InvalidContribution   what a stranger sent cannot be used; the sender is at fault
        CorruptBlob         bytes that do not have the hash they were asked for by
      Unavailable           the network, the database or the store is away; trying again may help
        StorageFull         no space is left where the bytes must go
"""

from __future__ import annotations


class CommonwealError(Exception):
    """Base of every error raised on purpose. ``code`` is stable and machine-readable."""

    code = "error"
    status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UserError(CommonwealError):
    code = "invalid_request"
    status = 422
    exit_code = 2


class ConfigError(UserError):
    code = "invalid_config"


class DataError(UserError):
    code = "invalid_data"


class Refused(CommonwealError):
    code = "refused"
    status = 409
    exit_code = 3


class NotAuthorized(Refused):
    code = "not_authorized"
    status = 401


class NotFound(Refused):
    code = "not_found"
    status = 404


class Conflict(Refused):
    code = "conflict"
    status = 409


class InsufficientCredits(Refused):
    code = "insufficient_credits"
    status = 402


class Overloaded(Refused):
    code = "overloaded"
    status = 429

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class InvalidContribution(CommonwealError):
    """What a member sent cannot be used. ``code`` says why, in words that the records keep."""

    code = "invalid_contribution"
    status = 422


class CorruptBlob(InvalidContribution):
    code = "wrong_hash"


class Unavailable(CommonwealError):
    code = "unavailable"
    status = 503
    exit_code = 4


class StorageFull(Unavailable):
    code = "storage_full"
    status = 507
