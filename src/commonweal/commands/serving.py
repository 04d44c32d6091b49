"""``commonweal hub``: open the database and the store, say the keys once, serve until told to stop."""

from __future__ import annotations

import importlib.util
import logging
import signal
import socket
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from commonweal import __version__, console
from commonweal.app import FirstKeys, HubSettings, build, first_start
from commonweal.commands import judging
from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.config import load_toml
from commonweal.core.database import Database, connect, start_embedded
from commonweal.core.errors import UserError
from commonweal.core.work import JobFactory
from commonweal.pool.worker.limits import parse_size
from commonweal.serve.api.context import ServeOptions
from commonweal.serve.community.settings import CommunitySettings
from commonweal.serve.tuning.trainer import Trainer
from commonweal.train.job import Scorer, job_factory
from commonweal.train.spec import KIND, JobSpec
from commonweal.web.pool import addresses

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubProcess:
    """The flags of ``commonweal hub``. An empty ``database`` is the embedded server, an empty ``store`` a folder
    beside it; ``limits`` are requests and tokens a minute, and how many processes grant them together; ``community``
    is a TOML file of :class:`~commonweal.serve.community.settings.CommunitySettings`; ``runs`` has the evaluations
    that are shown at ``/``, None for none, ``releases`` what was frozen of them, and ``reported`` what others
    published; ``judge``: whether members' answers are scored anew here."""

    folder: Path
    host: str
    port: int
    database: str
    store: str
    lease_seconds: float
    heartbeat_seconds: float
    upload_quota: str
    limits: tuple[int, int, int]
    threads: int
    fold: bool
    json: bool
    community: Path | None = None
    runs: Path | None = None
    releases: Path | None = None
    reported: Path | None = None
    judge: bool = False


def serve_hub(process: HubProcess) -> None:
    """Run a hub until SIGINT or SIGTERM. Raises ConfigError, UserError and Unavailable with what to do."""
    _make_folder(process.folder)
    listener = _listen(process.host, process.port)
    with console.live_line("starting the database", shown=not process.json):
        database = connect(process.database or start_embedded(process.folder / "postgres"))
    blobs = open_blobs(process.store or str(process.folder / "store"))
    requests, tokens, processes = process.limits
    community = load_toml(process.community, CommunitySettings) if process.community else CommunitySettings()
    settings = HubSettings(
        folder=process.folder,
        heartbeat_seconds=process.heartbeat_seconds,
        lease_seconds=process.lease_seconds,
        upload_quota=parse_size(process.upload_quota),
        fold=process.fold,
        runs=process.runs,
        releases=process.releases,
        reported=process.reported,
        community=community,
        serve=ServeOptions(requests_per_minute=requests, tokens_per_minute=tokens, processes=processes),
    )
    url = "http://{}:{}".format(*listener.getsockname()[:2])
    _announce(url, first_start(database, settings, SystemClock()), json=process.json)
    kinds = factories(blobs, process.threads)
    app = build(database, blobs, kinds, settings, trainer=_trainer(database, blobs, kinds))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
            access_log=False,
            ws_per_message_deflate=False,
            ws_max_size=2 * 2**20,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # uvicorn raises the signal that it ended by once more; a hub that was told to stop and did has done well.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    judge = judging.judge(database, url, process.folder / "judge", process.threads) if process.judge else None
    try:
        with judge or nullcontext():
            server.run(sockets=[listener])
    finally:
        database.close()
        listener.close()


def _is_news(record: logging.LogRecord) -> bool:
    """That members' long polls are cut off when a hub stops is meant so, and no error."""
    return not str(record.msg).startswith("Cancel ")


def factories(blobs: Blobs, threads: int) -> dict[str, JobFactory]:
    """The kinds of job that this hub runs. Without torch, contributions are checked but not scored."""
    if importlib.util.find_spec("torch") is None:
        log.warning("torch is not installed: contributions are not scored by their loss")
        return {KIND: job_factory(blobs)}
    return {KIND: job_factory(blobs, partial(_scorer, blobs, threads))}


def _trainer(database: Database, blobs: Blobs, kinds: dict[str, JobFactory]) -> Trainer | None:
    """Who fine-tunes here: nobody without torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    from commonweal.commands.tuning_trainer import PoolTrainer

    return PoolTrainer(database=database, blobs=blobs, clock=SystemClock(), factories=kinds)


def _scorer(blobs: Blobs, threads: int, spec: JobSpec) -> Scorer:
    from commonweal.train.scoring import HeldOutScorer

    return HeldOutScorer(spec, blobs.get, threads=threads)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--folder: cannot make {folder}: {error.strerror}", hint="choose a folder that you may write"
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(4096)
    except OSError as error:
        raise UserError(
            f"--port: cannot listen on {host}:{port}: {error.strerror}",
            hint="stop what uses it, or choose another with --port",
        ) from None
    return listener


def _announce(url: str, keys: FirstKeys | None, *, json: bool) -> None:
    if json:
        told = {"admin_key": keys.admin, "join_token": keys.join} if keys else {}
        console.print_json_line({"url": url, "version": __version__, **told})
        return
    console.out.print(
        f"Commonweal hub {__version__} on {url}\nIts pages, for a browser: {url}/{addresses.OVERVIEW}"
    )
    if keys is None:
        return
    console.out.print(
        f"\nFirst start. These are shown once, and stored hashed:\n"
        f"  admin key   {keys.admin}\n"
        f"  join token  {keys.join}\n\n"
        f"To lend a machine:\n"
        f"commonweal join {url} --token {keys.join}\n\n"
        f"To train a model:\n"
        f"export COMMONWEAL_HUB={url}\n"
        f"export COMMONWEAL_KEY={keys.admin}\n"
        f"commonweal train job.toml\n"
    )
