"""Giving back: a lease that will not be worked on, and the membership when the agent ends.

Courtesies, not duties: a lease that is not given back runs out. So they are tried briefly, also by a member that
was told to stop, and what goes wrong is only logged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from commonweal.core.errors import CommonwealError
from commonweal.pool import wire
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.diagnosis import Failure
from commonweal.pool.worker.patience import BRIEFLY, Retry

log = logging.getLogger(__name__)


class Parting:
    """Says goodbye to units and to the hub."""

    def __init__(self, client: HubClient, retry: Retry) -> None:
        self._client, self._retry = client, retry

    def release(self, unit: str, fence: int, failure: Failure = "", message: str = "") -> bool:
        """Hand a lease back undone. False if the hub does not know."""
        body = wire.Release(fence=fence, failure=failure, message=message)
        return self._briefly("release", lambda: self._client.release(unit, body))

    def leave(self) -> bool:
        """Tell the hub that nothing more comes from here. False if the hub does not know."""
        return self._briefly("leave", self._client.leave)

    def _briefly(self, what: str, action: Callable[[], None]) -> bool:
        try:
            self._retry.call(action, BRIEFLY, threading.Event())
        except CommonwealError as error:
            log.info("%s not heard because=%s", what, error.message)
            return False
        return True
