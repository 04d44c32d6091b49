"""The hub's own judge: a trusted member beside the hub, which scores a sample of the members' answers anew.

It is ``commonweal join --roles score`` in a process of its own, with a token of the operator's, so the hub needs no
torch in its own process and stays quick. It loads the models that members answer with, is started again when it ends
by itself, and ends with the hub.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from commonweal.commands.answering import JUDGE
from commonweal.commands.launching import Kept
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.models.engine.launched import Child, spawn
from commonweal.pool import accounts
from commonweal.pool.access import identify, issue_key

log = logging.getLogger(__name__)


@contextmanager
def judge(database: Database, url: str, folder: Path, threads: int) -> Iterator[None]:
    """Have a judge beside the hub at ``url``, which may not listen yet. Its state and ``judge.log`` are in
    ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "commonweal", "join", _from_here(url), "--name", "judge", "--json"]
    command += ["--roles", JUDGE, "--state", str(folder), "--threads", str(threads)]
    command += ["--max-load", "1", "--on-battery"]
    environment = {**os.environ, "COMMONWEAL_TOKEN": _token(database, folder / "token")}
    out = folder / "judge.log"
    kept = Kept(lambda stop: Child("", spawn(command, out, environment), out), lost=_lost)
    kept.start()
    try:
        yield
    finally:
        kept.close()


def _lost(why: str, seconds: float) -> None:
    log.warning("judge.ended seconds=%.0f why=%s", seconds, why)


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
