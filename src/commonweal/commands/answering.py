"""The serving half of ``commonweal join``: models of the pool in this process, or a server of one's own, which already
runs here or is started for it.

It serves while the machine may work, beside the training half: what pauses the one pauses the other. A pause takes no
answers that have not begun, and finishes the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from commonweal import __version__
from commonweal.commands.launching import Kept
from commonweal.core.errors import Unavailable, UserError
from commonweal.core.hashing import BlobHash
from commonweal.models.engine.launched import Launch, launch
from commonweal.pool.client import PoolClient
from commonweal.pool.worker import events
from commonweal.pool.worker.answers import check, reached
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.worker.engine import Engine
from commonweal.serve.worker.member import ServeSettings, ServingMember, Told

ROLE = "serve"
JUDGE = "score"
"""The role of who answers nobody, but scores the answers of others for audits."""
SLOTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What of the machine is for serving. ``memory`` is bytes for all models together; ``server`` the address of an
    OpenAI-compatible server to front, a server to start and front, or ''. ``pace``: seconds to wait before so many
    bytes are sent. ``judges``: it only scores the answers of others."""

    url: str
    folder: Path
    memory: int
    threads: int | None
    device: str
    server: str | Launch = ""
    judges: bool = False
    pace: Callable[[int], float] = lambda size: 0.0


class Answering:
    """Started once the machine is a member, stopped with it. ``heard`` takes the agent's events."""

    def __init__(self, lent: Lent, key: Callable[[], str], told: Callable[[Told], None]) -> None:
        self._lent, self._key, self._told = lent, key, told
        self._member: ServingMember | None = None
        self._engine: Engine | None = None
        self._own: Kept | None = None
        self._prepared: ServingMember | None = None
        self._closed = False
        self._changing = threading.Lock()

    def prepare(self) -> None:
        """Make ready to serve, without a word to the hub's router. Raises UserError for a server that has no models,
        Unavailable where none answers, and ConfigError for one that cannot be started."""
        with self._changing:
            self._prepared = self._made()

    def start(self) -> None:
        """Serve from now on. Raises what :meth:`prepare` does."""
        with self._changing:
            if self._closed:
                return
            if self._member is not None:
                self._member.stop()
            self._member, self._prepared = self._prepared or self._made(), None
            self._member.start()

    def stop(self) -> None:
        """Leave, and wait for what is being answered."""
        with self._changing:
            if self._member is not None:
                self._member.stop()
                self._member = None

    def close(self) -> None:
        """Leave for good; a server that was started for this ends."""
        with self._changing:
            self._closed = True
        self.stop()
        if self._own is not None:
            self._own.close()

    def heard(self, event: events.Event) -> None:
        """That the machine may work, a pause, and its end, each beside the thread that tells of them."""
        if isinstance(event, events.Paused):
            threading.Thread(target=self.stop, name="serve-pauses", daemon=True).start()
        elif isinstance(event, events.Ready | events.Resumed):
            threading.Thread(target=self.start, name="serve-resumes", daemon=True).start()

    def _made(self) -> ServingMember:
        lent, key = self._lent, self._key()
        served: tuple[ModelSpec, ...] = ()
        if lent.server:
            engine, served = self._front(key)
        else:
            engine = self._engine = self._engine or self._local()
        settings = ServeSettings(
            url=lent.url,
            key=key,
            folder=lent.folder,
            memory=lent.memory,
            slots=lent.server.slots if isinstance(lent.server, Launch) else SLOTS,
            name="fronted" if lent.server else "transformers",
            loads=not lent.server,
            judges=lent.judges,
            served=served,
            pace=lent.pace,
        )
        return ServingMember(settings, engine, _getter(lent.url, key), told=self._told)

    def _local(self) -> Engine:
        from commonweal.models.engine.local import LocalEngine
        from commonweal.models.engine.options import EngineOptions
        from commonweal.serve.worker.local import LocalModels

        options = EngineOptions(device=self._lent.device, threads=self._lent.threads or 0, slots=SLOTS)
        return LocalModels(LocalEngine(options))

    def _front(self, key: str) -> tuple[Engine, tuple[ModelSpec, ...]]:
        from commonweal.commands.fronting import FrontedModels, listed_at

        server = self._server()
        models = listed_at(server)
        if not models:
            raise UserError(f"--engine: {server} has no models", hint="start it with a model")
        with httpx.Client(
            base_url=self._lent.url, headers={"Authorization": f"Bearer {key}"}, timeout=30
        ) as client:
            served = tuple(_published(client, name, said) for name, said in models.items())
        by_identity = {spec.identity: name for spec, name in zip(served, models, strict=True)}
        return FrontedModels(server, by_identity), served

    def _back(self) -> None:
        """The server was started again: front it anew, unless the machine pauses."""
        if self._member is not None:
            self.start()

    def _server(self) -> str:
        """The address of the server to front; one that is to be started is, and is kept over pauses."""
        if isinstance(self._lent.server, str):
            return self._lent.server
        log = self._lent.folder / "engine.log"
        if self._own is None:
            log.parent.mkdir(parents=True, exist_ok=True)
            own = Kept(
                partial(launch, self._lent.server, log),
                lost=lambda why, seconds: self._told(Told(what="away", message=why, seconds=seconds)),
                back=self._back,
            )
            own.start()
            self._own = own
        child = self._own.child
        if child is None:
            raise Unavailable("engine: the server is not running", hint=f"see {log}")
        return child.url


def _published(client: httpx.Client, name: str, said: Mapping[str, Any]) -> ModelSpec:
    with reached("the hub"):
        response = client.post("/serve/v1/models/fronted", json={"name": name, **said})
    check(response)
    model = response.json()
    return ModelSpec(
        name=model["name"],
        identity=model["identity"],
        kind=model["kind"],
        files={},
        quantization=model["quantization"],
        parameters=model["parameters"],
        window=model["window"],
    )


def _getter(url: str, key: str) -> Callable[[BlobHash], bytes]:
    """Fetches blobs as the member, over a connection for each call: they are few, and called from any thread."""

    def get(blob: BlobHash) -> bytes:
        client = PoolClient(url, key, version=__version__)
        try:
            return client.get(blob)
        finally:
            client.close()

    return get
