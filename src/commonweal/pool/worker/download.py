"""Blobs from the hub: continued where they broke off, verified by their hash, kept in the cache."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

import httpx

from commonweal.core.errors import CorruptBlob, Unavailable
from commonweal.core.hashing import BlobHash
from commonweal.pool.worker.cache import Cache
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.patience import DOGGED, Patience, Retry, Stopped
from commonweal.pool.worker.throttle import Meter

log = logging.getLogger(__name__)

Arriving = Callable[[int, int | None], None]
"""Hears how many bytes of a blob are here, and how many it has, if that is known."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")


class Downloads:
    """Gets blobs by their hash."""

    def __init__(
        self,
        client: HubClient,
        cache: Cache,
        retry: Retry,
        meter: Meter,
        patience: Patience = DOGGED,
        told: Arriving = lambda here, size: None,
    ) -> None:
        self._client, self._cache, self._retry, self._meter = client, cache, retry, meter
        self._patience, self._told = patience, told

    def get(self, name: BlobHash, stop: threading.Event) -> bytes:
        """The bytes of ``name``.

        Raises NotFound; CorruptBlob if other bytes came twice; Unavailable if nothing comes any more; StorageFull
        if this machine's disk is full; Stopped.
        """
        data = self._cache.read(name)
        if data is not None:
            return data
        for _ in range(
            2
        ):  # a part left by a bad day is the likeliest culprit, so the second try is from zero
            self._fetch(name, stop)
            data = self._cache.admit(name)
            if data is not None:
                return data
            log.warning("download blob=%s has another hash", name)
        raise CorruptBlob(f"what the hub sends for {name[:12]} has another hash")

    def _fetch(self, name: BlobHash, stop: threading.Event) -> None:
        self._retry.call(
            lambda: self._continue(name, stop),
            self._patience,
            stop,
            progress=lambda: self._cache.part_size(name),
        )

    def _continue(self, name: BlobHash, stop: threading.Event) -> None:
        """One response's worth. Returns when the part is complete."""
        have = self._cache.part_size(name)
        with self._client.open_blob(name, have) as response:
            if response.status_code == 416:
                return  # nothing follows what is here: whether it is the blob, its hash will tell
            start, total = _span(response)
            if start not in (0, have):
                raise Unavailable(f"asked for a blob from byte {have} on, and was sent something else")
            self._cache.make_room(max(0, (total or 0) - start), keep=name)
            self._receive(name, response, start, total, stop)
        size = self._cache.part_size(name)
        if total is not None and size < total:
            raise Unavailable(f"the download broke off at {size} of {total} bytes")

    def _receive(
        self, name: BlobHash, response: httpx.Response, start: int, total: int | None, stop: threading.Event
    ) -> None:
        with self._cache.continuing(name, start) as file, self._meter.receiving() as counter:
            for piece in response.iter_bytes():  # as they come: what is buffered is lost with the link
                if stop.is_set():
                    raise Stopped
                file.write(piece)
                counter.size += len(piece)
                self._told(start + counter.size, total)


def _span(response: httpx.Response) -> tuple[int | None, int | None]:
    """Where the response's bytes begin, and the blob's size, as far as it says so."""
    if response.status_code == 200:
        return 0, length(response)
    told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return (int(told[1]), int(told[2])) if told else (None, None)


def length(response: httpx.Response) -> int | None:
    """How many bytes the response's body has, if it says so."""
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch(r"\d{1,18}", told) else None
