"""The first contact with a hub: soon answered, and if not, with what to do about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import httpx

from commonweal import __version__
from commonweal.core.clock import SystemClock
from commonweal.core.errors import CommonwealError, ConfigError, Unavailable, UserError
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.answers import CLIENT_TOO_OLD
from commonweal.pool.worker.client import HubClient, hub_url
from commonweal.pool.worker.patience import Patience, Retry

FIRST_CONTACT = Patience(attempts=2, first=1.0)
"""A person waits for the answer: one more try for a packet that was lost, and no more."""

FIRST_TIMEOUT = httpx.Timeout(10.0, connect=2.5)


@contextmanager
def reached(url: str, key: str) -> Iterator[PoolClient]:
    """The hub at ``url``, known to be there. Raises ConfigError (no key), UserError (no address of a hub), and
    Unavailable within seconds."""
    if not key:
        raise ConfigError(
            "no key", hint="give it with --key, or set COMMONWEAL_KEY; the hub said it when it first started"
        )
    greet(url, key)
    client = PoolClient(url, key, version=__version__)
    try:
        yield client
    finally:
        client.close()


def greet(url: str, key: str | None = None) -> None:
    """Make sure that a hub answers at ``url``. With a key it is not taken for a stranger's call."""
    client = HubClient(url, version=__version__, key=key)
    retry = Retry(SystemClock(), Random())
    try:
        retry.call(lambda: client.hello(FIRST_TIMEOUT), FIRST_CONTACT, threading.Event())
    except CommonwealError as error:
        raise _no_hub(hub_url(url), error) from error
    finally:
        client.close()


def _no_hub(url: str, error: CommonwealError) -> CommonwealError:
    if error.code == CLIENT_TOO_OLD or (isinstance(error, UserError) and "moved" in error.message):
        return error
    return Unavailable(
        f"no hub answers at {url}: {error.message}",
        hint="check the address (--hub or COMMONWEAL_HUB), and that the hub runs",
    )
