"""A process that is kept running beside this one: started again when it ends by itself, ended with this one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from commonweal.core.errors import CommonwealError
from commonweal.models.engine.launched import Child

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class Kept:
    """``begin`` starts the process, and is given what is set when it is no longer wanted. ``lost`` is told why it ended
    and in how many seconds it is started again, ``back`` that it is there again. All three are called from a thread of
    its own, in which the process lives and dies."""

    def __init__(
        self,
        begin: Callable[[threading.Event], Child],
        *,
        lost: Callable[[str, float], None],
        back: Callable[[], None] = lambda: None,
    ) -> None:
        self._begin, self._lost, self._back = begin, lost, back
        self._stop, self._begun = threading.Event(), threading.Event()
        self._failed: CommonwealError | None = None
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name="kept", daemon=True)

    @property
    def child(self) -> Child | None:
        """The process, None while it is away."""
        return self._child

    def start(self) -> None:
        """Start it and wait until it is there. Raises what ``begin`` does."""
        self._thread.start()
        self._begun.wait()
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        """End it for good."""
        self._stop.set()
        child = self._child
        if child is not None:
            child.close()
        self._thread.join()

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            since = time.monotonic()
            try:
                child = self._begin(self._stop)
            except CommonwealError as error:
                why = error.message
                if not self._begun.is_set():
                    self._failed = error
                    self._begun.set()
                    return
            else:
                why = self._lived(child)
            if time.monotonic() - since > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            if not self._stop.is_set():
                self._lost(why, wait)
                self._stop.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _lived(self, child: Child) -> str:
        """Tell that it is there, and wait for its end; its last words."""
        self._child = child
        if self._stop.is_set():  # closed just before it was there
            child.close()
        elif self._begun.is_set():
            self._back()
        self._begun.set()
        why = child.wait()
        self._child = None
        return why
