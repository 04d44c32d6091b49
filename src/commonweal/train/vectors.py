"""Vectors in the blob store, with a bounded cache, so that a fold does not read what the fold before it
wrote."""

from __future__ import annotations

import threading
from collections import OrderedDict

from commonweal.core.blobs import Blobs
from commonweal.core.hashing import BlobHash
from commonweal.train.chain import state_bytes, state_from
from commonweal.train.codecs import Vector

CACHE_BYTES = 1 << 30


class Vectors:
    """float32 vectors by their hash. What it returns is read-only, as it is shared. Safe for several
    threads."""

    def __init__(self, blobs: Blobs, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._blobs = blobs
        self._limit = cache_bytes
        self._cached: OrderedDict[BlobHash, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: BlobHash, size: int) -> Vector:
        """The vector of ``size`` elements named ``name``."""
        with self._lock:
            if name in self._cached:
                self._cached.move_to_end(name)
                return self._cached[name]
        return self._remember(name, state_from(self._blobs.get(name), size))

    def put(self, vector: Vector) -> BlobHash:
        """Store ``vector``, which must not be written to from now on."""
        name = self._blobs.put(state_bytes(vector))
        self._remember(name, vector)
        return name

    def _remember(self, name: BlobHash, vector: Vector) -> Vector:
        vector.flags.writeable = False
        with self._lock:
            self._cached[name] = vector
            self._cached.move_to_end(name)
            while len(self._cached) > 1 and sum(v.nbytes for v in self._cached.values()) > self._limit:
                self._cached.popitem(last=False)
        return vector
