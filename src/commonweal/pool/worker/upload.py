"""Blobs to the hub, or straight to its store: continued where they broke off, and no faster than allowed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from commonweal.core.errors import CorruptBlob, NotFound, Unavailable
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.pool import wire
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.patience import DOGGED, Patience, Retry, Stopped
from commonweal.pool.worker.throttle import PIECE, Meter, TokenBucket

log = logging.getLogger(__name__)

CHUNK = 4 * 1024 * 1024
_CHUNK_SECONDS = 10.0
"""A limited upload is cut so that no request takes much longer: proxies drop the ones that do."""


class Uploads:
    """Brings bytes to where the hub wants them."""

    def __init__(
        self,
        client: HubClient,
        retry: Retry,
        meter: Meter,
        bucket: TokenBucket,
        patience: Patience = DOGGED,
    ) -> None:
        self._client, self._retry, self._meter, self._bucket = client, retry, meter, bucket
        self._patience = patience
        self._chunk = (
            CHUNK if bucket.rate is None else min(CHUNK, max(PIECE, int(bucket.rate * _CHUNK_SECONDS)))
        )

    def put(self, data: bytes, stop: threading.Event) -> BlobHash:
        """Upload ``data``; what the hub has already is not sent. Returns its hash.

        Raises CorruptBlob if it arrived damaged twice, Unavailable if nothing gets through any more, Stopped.
        """
        name = content_hash(data)
        try:
            self._send(name, data, stop)
        except CorruptBlob:
            log.warning("upload blob=%s arrived with another hash; once more", name)
            self._send(name, data, stop)
        return name

    def _send(self, name: BlobHash, data: bytes, stop: threading.Event) -> None:
        reached = [0]

        def reach(offset: int) -> None:
            reached[0] = max(reached[0], offset)

        self._retry.call(
            lambda: self._attempt(name, data, stop, reach), self._patience, stop, progress=lambda: reached[0]
        )

    def _attempt(
        self, name: BlobHash, data: bytes, stop: threading.Event, reach: Callable[[int], None]
    ) -> None:
        """From where the hub is to the end. It alone knows how much arrived of what broke off."""
        upload = self._asked(name, data)
        if upload.complete:
            return
        if upload.parts is not None:
            self._put_parts(name, data, upload.parts, stop, reach)
        elif upload.url is not None:
            self._put_stored(upload.url, data, stop)
            self._client.complete_upload(name)
        else:
            self._append(name, data, upload.offset, stop, reach)

    def _asked(self, name: BlobHash, data: bytes) -> wire.Upload:
        return self._client.request_upload(wire.UploadRequest(hash=name, size=len(data), parts=True))

    def _put_parts(
        self,
        name: BlobHash,
        data: bytes,
        parts: Sequence[wire.UploadPart],
        stop: threading.Event,
        reach: Callable[[int], None],
    ) -> None:
        """The parts that the hub names, then the next ones, until it names none: each is sent once, whatever breaks
        between two of them."""
        sent = 0
        while parts:
            for part in parts:
                end = part.start + part.size
                if not sent <= part.start < end <= len(data):
                    raise Unavailable(
                        f"the hub wants bytes {part.start} to {end} of {len(data)}, after {sent}"
                    )
                self._put_stored(part.url, data[part.start : end], stop)
                sent = end
                reach(sent)
            upload = self._asked(name, data)
            if upload.complete:
                return
            parts = upload.parts or ()
        try:
            self._client.complete_upload(name, len(data))
        except NotFound as error:  # its store lost a part, or forgot it: the next answer names it
            raise Unavailable(f"the hub does not find the upload: {error.message}") from error

    def _put_stored(self, url: str, data: bytes, stop: threading.Event) -> None:
        if stop.is_set():
            raise Stopped
        with self._meter.sending() as counter:
            self._client.put_stored(url, self._pieces(data, stop), len(data))
            counter.size = len(data)

    def _append(
        self, name: BlobHash, data: bytes, offset: int, stop: threading.Event, reach: Callable[[int], None]
    ) -> None:
        """Through the hub, from byte ``offset`` on."""
        if not 0 <= offset <= len(data):
            raise Unavailable(f"the hub wants byte {offset} of {len(data)}")
        while True:
            reach(offset)
            chunk = data[offset : offset + self._chunk]
            with self._meter.sending() as counter:
                told = self._client.append(name, offset, len(data), self._pieces(chunk, stop), len(chunk))
                counter.size = len(chunk)
            if told != offset + len(chunk):
                raise Unavailable(f"the hub is at byte {told} of the upload, not at {offset + len(chunk)}")
            offset = told
            if offset == len(data):
                return

    def _pieces(self, data: bytes, stop: threading.Event) -> Iterator[bytes]:
        step = self._bucket.piece()
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._bucket.take(len(piece), stop)
            yield piece
