"""A server of models that a member starts, and starts again when it ends by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from commonweal.core.errors import CommonwealError, Unavailable
from commonweal.models.engine.launched import Child, Launch, launch

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class OwnServer:
    """``lost`` is told why it ended and in how many seconds it is started again, ``back`` that it answers again; both
    from a thread of its own, in which the server lives and dies."""

    def __init__(
        self,
        what: Launch,
        log: Path,
        *,
        lost: Callable[[str, float], None],
        back: Callable[[], None],
        patience: float = 600.0,
    ) -> None:
        self._what, self._log, self._patience = what, log, patience
        self._lost, self._back = lost, back
        self._stop, self._begun = threading.Event(), threading.Event()
        self._failed: CommonwealError | None = None
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name="own-server", daemon=True)

    @property
    def url(self) -> str:
        """Its address. Raises Unavailable while it is away."""
        child = self._child
        if child is None:
            raise Unavailable("engine: the server is not running", hint=f"see {self._log}")
        return child.url

    def start(self) -> None:
        """Start it and wait until it answers. Raises what :func:`launch` raises."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
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
                child = launch(self._what, log=self._log, patience=self._patience, stop=self._stop)
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
        """Tell that it answers, and wait for its end; its last words."""
        self._child = child
        if self._stop.is_set():  # closed just before it was there
            child.close()
        elif self._begun.is_set():
            self._back()
        self._begun.set()
        why = child.wait()
        self._child = None
        return why
