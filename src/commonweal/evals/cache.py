"""What was answered once is not asked again: completions by the hash of their request, in one SQLite file.

The cache knows no model and no network. It holds only what a second asking would answer alike: requests at
temperature 0, with a seed, or told apart by their sample number; a failed request is never kept. Losing the cache
loses time and money, never a result, so nothing that goes wrong with the file stops a run: a damaged file is set
aside and a new one begun, and a full disk turns writing off, each with one warning.

Writes are gathered and committed together (256 rows, or what came within 50 ms), so that a sample costs
microseconds; a row that waits is found already. Processes may share a file (SQLite's write-ahead log).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from commonweal.core.completion import Abilities, Completer, Completion, Request
from commonweal.core.errors import DataError
from commonweal.evals.records import completion_of_text, completion_text

log = logging.getLogger(__name__)

ROWS_A_COMMIT = 256
SECONDS_A_COMMIT = 0.05
_BUSY_SECONDS = 30.0
_TABLE = "CREATE TABLE IF NOT EXISTS completion (request BLOB PRIMARY KEY, body TEXT NOT NULL)"
_GET = "SELECT body FROM completion WHERE request = ?"
_PUT = "INSERT OR IGNORE INTO completion VALUES (?, ?)"


def is_cacheable(request: Request) -> bool:
    """Whether asking again would have to give the same answer, or was numbered so that it need not."""
    return (
        request.temperature == 0.0
        or request.kind == "score"
        or request.seed is not None
        or request.sample > 0
    )


class RequestCache:
    """Completions by request. Use from one thread at a time, or from several: calls are serialized."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[bytes, str] = {}
        self._committed = -SECONDS_A_COMMIT
        self._writes = True
        self._database = self._opened()

    def get(self, request: Request) -> Completion | None:
        """What was answered before, with ``cached`` set; None where nothing was, or where it may not be reused."""
        return self.get_key(key_of(request)) if is_cacheable(request) else None

    def put(self, request: Request, completion: Completion) -> None:
        """Keep ``completion``, unless the request may not be answered twice alike or was answered by a failure."""
        if is_cacheable(request):
            self.put_key(key_of(request), completion)

    def get_key(self, key: bytes) -> Completion | None:
        """:meth:`get` where :func:`key_of` is known already."""
        with self._lock:
            body = self._waiting.get(key)
            if body is None:
                body = self._found(key)
        if body is None:
            return None
        try:
            return completion_of_text(body)
        except DataError as error:
            log.warning("cache.row_unreadable path=%s error=%s", self.path, error.message)
            return None

    def put_key(self, key: bytes, completion: Completion) -> None:
        """:meth:`put` where :func:`key_of` is known already."""
        if completion.cached or not _is_whole(completion):
            return
        try:
            body = completion_text(completion, cached=True)
        except ValueError as error:
            log.warning("cache.not_kept path=%s error=%s", self.path, error)
            return
        with self._lock:
            if not self._writes:
                return
            now = self._clock()
            self._waiting[key] = body
            if len(self._waiting) >= ROWS_A_COMMIT or now - self._committed >= SECONDS_A_COMMIT:
                self._committed = now
                self._commit()

    @property
    def waiting(self) -> int:
        """How many rows are not committed yet."""
        return len(self._waiting)

    def flush(self) -> None:
        """Commit what waits."""
        with self._lock:
            self._commit()

    def close(self) -> None:
        with self._lock:
            self._commit()
            self._database.close()

    def _found(self, key: bytes) -> str | None:
        try:
            row = self._database.execute(_GET, (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return None
        return row[0] if row else None

    def _commit(self) -> None:
        if not self._waiting:
            return
        rows = list(self._waiting.items())
        try:
            with self._database:
                self._database.executemany(_PUT, rows)
        except sqlite3.DatabaseError as error:
            if not self._recover(error):
                return
            with self._database:
                self._database.executemany(_PUT, rows)
        self._waiting.clear()

    def _recover(self, error: sqlite3.DatabaseError) -> bool:
        """Whether writing may be tried again: on a new file in place of a damaged one."""
        if _is_damage(error):
            self._database.close()
            _set_aside(self.path, error)
            self._database = self._opened()
            return True
        log.warning(
            "cache.off path=%s error=%s: the run goes on, but answers are no longer kept", self.path, error
        )
        self._writes = False
        self._waiting.clear()
        return False

    def _opened(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return _connect(self.path)
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                _set_aside(self.path, error)
                return _connect(self.path)
            reason: Exception = error
        except OSError as error:
            reason = error
        log.warning("cache.off path=%s error=%s: answers are kept in memory", self.path, reason)
        return _connect(None)


class CachedCompleter:
    """Asks ``inner`` only what ``cache`` does not know. Closing it closes ``inner``, and commits the cache without
    closing it."""

    def __init__(self, inner: Completer, cache: RequestCache) -> None:
        self._inner = inner
        self._cache = cache
        self._timer: asyncio.TimerHandle | None = None
        self.hits = 0

    @property
    def abilities(self) -> Abilities:
        return self._inner.abilities

    async def probe(self) -> Abilities:
        """What ``inner`` finds out about itself."""
        probe = getattr(self._inner, "probe", None)
        return await probe() if probe else self._inner.abilities

    async def complete(self, request: Request) -> Completion:
        if not is_cacheable(request):
            return await self._inner.complete(request)
        key = key_of(request)
        known = self._cache.get_key(key)
        if known is not None:
            self.hits += 1
            return known
        completion = await self._inner.complete(request)
        self._cache.put_key(key, completion)
        if self._cache.waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS_A_COMMIT, self._flush)
        return completion

    def _flush(self) -> None:
        self._timer = None
        self._cache.flush()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        await self._inner.close()


def key_of(request: Request) -> bytes:
    """The 32 bytes of the request's hash."""
    return bytes.fromhex(request.hash())


def _is_whole(completion: Completion) -> bool:
    return bool(completion.choices) and all(choice.finish != "error" for choice in completion.choices)


def _connect(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(
        path or ":memory:", timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level="IMMEDIATE"
    )
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(_TABLE)
        database.execute(_GET, (b"",)).fetchone()
        database.commit()
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    """Rename the damaged file; its log and index are of no use without it."""
    kept = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.replace(kept)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    log.warning("cache.damaged path=%s kept=%s error=%s: a new cache is begun", path, kept, error)
