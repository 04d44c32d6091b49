"""The hub's own judge: a trusted member beside the hub, which scores a sample of the members' answers anew.

It is ``commonweal join --roles score`` in a process of its own, with a token of the operator's, so the hub needs no
torch in its own process and stays quick. It loads the models that members answer with, is started again when it ends
by itself, and ends with the hub.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from commonweal.commands.answering import JUDGE
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.models.engine.launched import Child, dies_with_us
from commonweal.pool import accounts
from commonweal.pool.access import identify, issue_key

log = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


@contextmanager
def judge(database: Database, url: str, folder: Path, threads: int) -> Iterator[None]:
    """Have a judge beside the hub at ``url``, which may not listen yet. Its state and ``judge.log`` are in
    ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "commonweal", "join", _from_here(url), "--name", "judge", "--json"]
    command += ["--roles", JUDGE, "--state", str(folder), "--threads", str(threads)]
    command += ["--max-load", "1", "--on-battery"]
    kept = _Kept(command, _token(database, folder / "token"), folder / "judge.log")
    kept.start()
    try:
        yield
    finally:
        kept.close()


class _Kept:
    """A child that is started again when it ends by itself, in a thread with which it lives and dies."""

    def __init__(self, command: Sequence[str], token: str, out: Path) -> None:
        self._command, self._token, self._out = command, token, out
        self._stop = threading.Event()
        self._child: Child | None = None
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it for good."""
        with self._changing:
            self._stop.set()
            if self._child is not None:
                self._child.close()
        self._thread.join()

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            since = time.monotonic()
            child = self._begun()
            if child is None:
                return
            why = child.wait()
            if time.monotonic() - since > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            if not self._stop.is_set():
                log.warning("judge.ended seconds=%.0f why=%s", wait, why)
                self._stop.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _begun(self) -> Child | None:
        with self._changing, self._out.open("wb") as out:
            if self._stop.is_set():
                return None
            process = subprocess.Popen(
                [*dies_with_us(), *self._command],
                start_new_session=True,  # ctrl-c is for the hub, which ends it
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COMMONWEAL_TOKEN": self._token},
            )
            self._child = Child("", process, self._out)
            return self._child


def _token(database: Database, path: Path) -> str:
    """The operator's join token for the judge, kept beside its state; a new one where this hub does not know it."""
    with database.transaction() as connection:
        if path.exists():
            kept = path.read_text().strip()
            try:
                identify(connection, kept)
            except NotAuthorized:
                log.info("judge.token the one in %s is of another hub", path)
            else:
                return kept
        made = issue_key(connection, role="join", owner=accounts.OPERATOR, label="judge", now=time.time())
    path.touch(mode=0o600)
    path.write_text(f"{made}\n")
    return made


def _from_here(url: str) -> str:
    """The hub's address for a process on the same machine.

    >>> _from_here("http://0.0.0.0:8400")
    'http://127.0.0.1:8400'
    >>> _from_here("http://:::8400"), _from_here("http://192.0.2.7:8400")
    ('http://[::1]:8400', 'http://192.0.2.7:8400')
    """
    host, _, port = urlsplit(url).netloc.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}.get(host, host)
    return f"http://{host if host.startswith('[') or ':' not in host else f'[{host}]'}:{port}"
