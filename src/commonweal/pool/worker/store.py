"""The member's folder: who it is, which lease it holds, and the blobs it keeps.

    lock             held while a process uses the folder
    identity.json    the member's id and key at one hub; only its owner may read it
    lease.json       the lease in hand, so that a killed process gives it back when it is started again
    cache/           blobs (``cache``)

What is damaged is set aside or fetched again, never a reason not to start.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from commonweal.core.errors import StorageFull, UserError
from commonweal.core.ids import MemberId
from commonweal.pool.worker.cache import Cache
from commonweal.pool.worker.disk import lock_file, write_whole

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this machine is at the hub at address ``hub``."""

    hub: str
    member: MemberId
    key: str
    name: str

    def __repr__(self) -> str:
        return f"Identity(hub={self.hub!r}, member={self.member!r}, name={self.name!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease as it is remembered: enough to give it back."""

    unit: str
    fence: int


class Store:
    """Use it in a ``with`` statement: entering it makes and locks the folder. Raises UserError if another
    process has it, or if it cannot be written to."""

    def __init__(self, folder: Path, cache_bytes: int) -> None:
        self.folder, self._cache_bytes = folder, cache_bytes
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = lock_file(self.folder / "lock")
            self.cache = Cache(self.folder / "cache", self._cache_bytes)
        except OSError as error:
            self.__exit__(None, None, None)
            raise UserError(
                f"cannot write to {self.folder}: {error.strerror}", hint="choose another folder with --state"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def identity(self, hub: str) -> Identity | None:
        """Who this machine is at ``hub``, or None before it joined. Raises UserError if the folder belongs to the
        member of another hub."""
        identity = self._load("identity.json", Identity)
        if identity is not None and identity.hub != hub:
            raise UserError(
                f"{self.folder} belongs to a member of {identity.hub}, not of {hub}",
                hint="give each hub its own folder with --state",
            )
        return identity

    def save_identity(self, identity: Identity) -> None:
        """Raises StorageFull."""
        write_whole(self.folder / "identity.json", json.dumps(asdict(identity), indent=2).encode())

    def lease(self) -> HeldLease | None:
        """The lease that the last process held when it ended, if it did not end well."""
        return self._load("lease.json", HeldLease)

    def save_lease(self, lease: HeldLease) -> None:
        """Remember what to give back. Without it the lease only runs out later, so a full disk is no failure."""
        try:
            write_whole(self.folder / "lease.json", json.dumps(asdict(lease)).encode())
        except StorageFull:
            log.warning("the disk is full: lease of unit=%s not remembered", lease.unit)

    def forget_lease(self) -> None:
        (self.folder / "lease.json").unlink(missing_ok=True)

    def _load(self, file: str, into: type[T]) -> T | None:
        path = self.folder / file
        try:
            fields: Any = json.loads(path.read_bytes())
            value = into(**fields)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            log.warning("%s is damaged (%s); set aside", path, error)
            path.replace(path.with_name(file + ".damaged"))
            return None
        return value
