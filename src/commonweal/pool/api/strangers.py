"""How often an address may call without a valid key.

Calls without a key are counted before anything is done for them, those with a wrong one when that is known. A valid
key is never refused here, whatever else comes from its address: that may be a proxy's, or a whole building's. Each hub
process counts for itself.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Mapping

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from commonweal.core.errors import Overloaded
from commonweal.pool.api.faults import answer

WRONG_KEY = 10
"""A wrong key counts as so many calls: nobody has reason to send many."""
EXPORT = 60
"""So does reading the books, which costs as much as there are journals."""

_IPV6_NETWORK = 64  # what one subscriber has, to change its address in as it likes


class Strangers:
    """Counts by address, with :mod:`limits`. Used from several threads."""

    def __init__(self, calls_a_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(calls_a_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, address: str, calls: int = 1) -> None:
        """Note ``calls`` from ``address``. Raises Overloaded where that is more than it may."""
        whose = subscriber(address)
        if self._limiter.hit(self._limit, whose, cost=calls):
            return
        reset = self._limiter.get_window_stats(self._limit, whose).reset_time
        raise Overloaded(
            "too many calls without a valid key from this address",
            retry_after=math.ceil(max(1.0, reset - time.time())),
            hint="wait, or send the header 'Authorization: Bearer KEY' with a valid key",
        )


class LimitStrangers:
    """Counts the calls that carry no key, and refuses those that are too many. ``dear`` has the paths that count as
    more than one."""

    def __init__(self, app: ASGIApp, strangers: Strangers, dear: Mapping[str, int]) -> None:
        self._app, self._strangers, self._dear = app, strangers, dear

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _has_key(scope):
            try:
                self._strangers.count(address_of(scope), self._dear.get(scope["path"], 1))
            except Overloaded as error:
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Where a request comes from, as the server knows it (from a trusted proxy's X-Forwarded-For, too)."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def subscriber(address: str) -> str:
    """What is counted as one: an IPv4 address, or the network of an IPv6 one.

    >>> subscriber("203.0.113.9"), subscriber("2001:db8:1:2:3::4"), subscriber("::ffff:203.0.113.9")
    ('203.0.113.9', '2001:db8:1:2::', '203.0.113.9')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed.packed, _IPV6_NETWORK), strict=False).network_address)


def _has_key(scope: Scope) -> bool:
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in scope["headers"]
    )
