"""The executors that this installation has, made when they are first needed and kept while they are good.

Only these ever run: the hub names a kind of work, it cannot send any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from commonweal.core.errors import Refused
from commonweal.core.work import Executor

log = logging.getLogger(__name__)

ExecutorFactory = Callable[[], Executor]


class Unsupported(Refused):
    """A kind of work that this installation has no executor for."""

    code = "unsupported"


class Executors:
    """One executor a kind. Used by one thread."""

    def __init__(self, factories: Mapping[str, ExecutorFactory]) -> None:
        self._factories = dict(factories)
        self._made: dict[str, Executor] = {}

    @property
    def kinds(self) -> list[str]:
        return sorted(self._factories)

    def get(self, kind: str) -> Executor:
        """The executor for ``kind``. Raises Unsupported."""
        if kind not in self._factories:
            raise Unsupported(f"this member has no executor for '{kind[:40]}'")
        if kind not in self._made:
            self._made[kind] = self._factories[kind]()
        return self._made[kind]

    def discard(self, kind: str) -> None:
        """Drop an executor that failed: what it kept between units may be half changed, or be what fills the
        memory."""
        executor = self._made.pop(kind, None)
        if executor is not None:
            try:
                executor.close()
            except Exception:
                log.exception("executor failed to close kind=%s", kind)

    def close(self) -> None:
        for kind in list(self._made):
            self.discard(kind)
