"""One thread that does one thing after another, so that another can wait for it and still hear ctrl-c.

It is always the same thread, because libraries keep pools of threads per calling thread; and it is a daemon, so
an executor that hangs cannot keep the process from ending.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """Does what it is given, in order."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last: Future[Any] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, action: Callable[[], T]) -> Future[T]:
        """Queue ``action``; the future has its result, or whatever it raised."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = action()
            except BaseException as error:  # also SystemExit: an executor must not end the agent
                future.set_exception(error)
            else:
                future.set_result(result)

        self._last = future
        self._calls.put(call)
        return future

    @property
    def busy(self) -> bool:
        """Whether what it was given last is still to be done."""
        return self._last is not None and not self._last.done()

    def close(self) -> None:
        """End the thread after what it was given. Does not wait."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
