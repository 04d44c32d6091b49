"""The chain of updates that leads from one state of the weights to the next, the same on every machine.

A state is the flat float32 vector of the trained parameters; its name is the SHA-256 of its little-endian
bytes, which is also the name of the blob that holds it. An update is an encoded vector that is added to one
range of the state. Decoding and adding are element-wise IEEE operations, so whoever applies the same updates
to the same state has the same bits, and the hash proves it. No torch here: the hub folds without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from commonweal.core.errors import CorruptBlob
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.train.codecs import Vector, make_codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One link: state ``before`` becomes ``after`` when ``blob`` (``size`` bytes, in ``codec``) is added to
    the elements ``start`` to ``stop``. ``folded`` names the units whose contributions are in it."""

    round: int
    before: BlobHash
    after: BlobHash
    blob: BlobHash
    codec: str
    start: int
    stop: int
    size: int
    folded: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "folded": list(self.folded)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Update:
        return cls(**{**value, "folded": tuple(value["folded"])})


def state_hash(theta: Vector) -> BlobHash:
    """The name of a state.

    >>> state_hash(np.zeros(1, np.float32))[:8]
    'df3f6198'
    """
    return content_hash(_little_endian(theta).data.cast("B"))


def state_bytes(theta: Vector) -> bytes:
    """A state as a blob."""
    return _little_endian(theta).tobytes()


def state_from(data: bytes, size: int) -> Vector:
    """The state in a blob, writable. Raises CorruptBlob when it does not have ``size`` elements."""
    if len(data) != 4 * size:
        raise CorruptBlob(f"a state of {len(data)} bytes where {4 * size} were expected")
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def path_from(chain: Sequence[Update], have: BlobHash, want: BlobHash) -> tuple[Update, ...] | None:
    """The updates that lead from ``have`` to ``want``, or None when they do not connect."""
    wanted: list[Update] = []
    at = want
    for update in reversed(chain):
        if at == have:
            break
        if update.after == at:
            wanted.append(update)
            at = update.before
    return tuple(reversed(wanted)) if at == have else None


def apply_update(theta: Vector, update: Update, data: bytes) -> None:
    """Add one update to ``theta`` in place."""
    decoded = make_codec(update.codec).decode(data, update.stop - update.start)
    theta[update.start : update.stop] += decoded


def catch_up(
    theta: Vector, have: BlobHash, chain: Sequence[Update], want: BlobHash, get: Callable[[BlobHash], bytes]
) -> int | None:
    """Bring ``theta`` from state ``have`` to ``want`` in place; returns the bytes that were got for it.

    None when the updates do not lead there, or lead elsewhere (``theta`` is then of no use): get the whole
    state.
    """
    path = path_from(chain, have, want)
    if path is None:
        return None
    for update in path:
        apply_update(theta, update, get(update.blob))
    if path and state_hash(theta) != want:
        return None
    return sum(update.size for update in path)


def _little_endian(theta: Vector) -> Vector:
    return np.ascontiguousarray(theta, dtype="<f4")
