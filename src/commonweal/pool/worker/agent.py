"""A member: the machine joins a hub, asks for work, does it, and hands it in, until it is told to stop.

This module wires the parts together. What is decided where: ``limits`` when to work, ``shift`` what to do next,
``units`` how a unit is done, ``patience`` how to try again, ``diagnosis`` what an error means. All state that
outlives the process is in the member's folder (``store``), so a new process goes on as the same member.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import wait as wait_for
from functools import partial
from random import Random
from typing import Any

from pydantic import ValidationError

from commonweal.core.clock import Clock
from commonweal.core.errors import NotAuthorized, UserError
from commonweal.core.ids import MemberId, new_id
from commonweal.pool import wire
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.download import Downloads
from commonweal.pool.worker.events import Downloading, Joined, Left, Listener, Waiting
from commonweal.pool.worker.executors import ExecutorFactory, Executors
from commonweal.pool.worker.lane import Lane
from commonweal.pool.worker.machine import choose_device, free_memory
from commonweal.pool.worker.options import AgentOptions, Tempo
from commonweal.pool.worker.parting import Parting
from commonweal.pool.worker.patience import LIMITED, UNTIL_STOPPED, Retry, Stopped
from commonweal.pool.worker.pulse import Pulse
from commonweal.pool.worker.shift import Shift
from commonweal.pool.worker.store import Identity, Store
from commonweal.pool.worker.surroundings import Machine, Surroundings
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.units import Units
from commonweal.pool.worker.upload import Uploads

_TELL_SECONDS = 0.5
"""How often a download is told of."""


class Agent:
    """``executors`` makes the executor of each kind of work, when it is first needed and in the thread that uses
    it. ``store`` must be open. ``listen`` is called from several threads."""

    def __init__(
        self,
        client: HubClient,
        executors: Mapping[str, ExecutorFactory],
        options: AgentOptions,
        store: Store,
        clock: Clock,
        listen: Listener,
        *,
        surroundings: Surroundings | None = None,
        random: Random | None = None,
        tempo: Tempo | None = None,
    ) -> None:
        self._client, self._options, self._store = client, options, store
        self._clock, self._listen, self._tempo = clock, listen, tempo or Tempo()
        # Unseeded unless a test says so: members with one seed would all come back to the hub at one moment.
        self._random = random or Random()
        self._surroundings = surroundings
        self._executors = Executors(executors)
        self._meter = Meter(clock)
        self._retry = Retry(clock, self._random, self._waiting)
        self._parting = Parting(client, self._retry)
        self._told_at = -_TELL_SECONDS
        self.bucket = TokenBucket(options.upload_limit, clock)
        """What is uploaded goes through it; whatever else this machine sends may, too."""

    def join(self, *, token: str, name: str, platform: dict[str, Any], stop: threading.Event) -> Identity:
        """Become a member, unless this folder's machine is one already.

        Raises NotAuthorized (a wrong token), UserError (a name that cannot be one, a client too old),
        Unavailable (no hub answers there), StorageFull, Stopped.
        """
        identity = self._store.identity(self._client.url)
        new = identity is None
        if identity is None:
            self._retry.call(self._client.hello, LIMITED, stop)
            body = _register_body(name, self._client.version, self._options, platform)
            reply = self._retry.call(lambda: self._client.register(body, token), LIMITED, stop)
            identity = Identity(
                hub=self._client.url, member=MemberId(reply.member), key=reply.key, name=body.name
            )
            self._store.save_identity(identity)
        self._listen(Joined(member=identity.member, name=identity.name, new=new))
        return identity

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set (or ``max_units`` are over), then give everything back.

        A hub that is away is waited for. Raises UserError before :meth:`join` or with a client too old, and
        NotAuthorized if the hub does not know this member any more.
        """
        identity = self._store.identity(self._client.url)
        if identity is None:
            raise UserError("this machine is not a member yet", hint="join with a token first")
        self._client.key = identity.key
        device = choose_device(self._options.device)
        told = False
        try:
            hello = self._retry.call(self._client.hello, UNTIL_STOPPED, stop)
            self._return_leftover()
            told = self._work(hello, device, stop)
        except Stopped:
            pass
        except NotAuthorized as error:
            raise NotAuthorized(
                f"{self._client.url}: {error.message}",
                hint=f"to join anew, delete {self._store.folder / 'identity.json'} and use a join token",
            ) from error
        finally:
            self._listen(Left(told=told))

    def _work(self, hello: wire.Hello, device: str, stop: threading.Event) -> bool:
        """One shift, and whether the hub heard the goodbye at its end."""
        pulse = Pulse(self._client, self._meter, hello.heartbeat_seconds, self._random)
        units = self._units()
        lane = Lane("work")
        shift = Shift(
            options=self._options,
            kinds=self._executors.kinds,
            free_memory=partial(free_memory, device, self._options.memory),
            lease=self._client.lease,
            units=units,
            lane=lane,
            pulse=pulse,
            parting=self._parting,
            store=self._store,
            surroundings=self._surroundings or Machine(self._clock, on_gpu=device.startswith("cuda")),
            retry=self._retry,
            clock=self._clock,
            random=self._random,
            listen=self._listen,
            tempo=self._tempo,
        )
        try:
            with pulse.beating():
                shift.work(stop)
        except Stopped:
            pass
        finally:
            told = self._parting.leave()
            self._close(lane, units)
        return told

    def _close(self, lane: Lane, units: Units) -> None:
        """Close the executors in their own thread, waiting for it only if it is not busy with something else
        (a long poll, an executor that hangs)."""
        busy = lane.busy
        closed = lane.start(units.close)
        lane.close()
        if not busy:
            wait_for([closed], timeout=self._tempo.grace)

    def _units(self) -> Units:
        downloads = Downloads(
            self._client, self._store.cache, self._retry, self._meter, told=self._downloading
        )
        uploads = Uploads(self._client, self._retry, self._meter, self.bucket)
        return Units(
            self._client, self._executors, downloads, uploads, self._meter, self._retry, self._listen
        )

    def _return_leftover(self) -> None:
        """What a killed process held is given back, so that nobody waits for it to run out."""
        leftover = self._store.lease()
        if leftover is not None:
            self._parting.release(leftover.unit, leftover.fence)
            self._store.forget_lease()

    def _downloading(self, here: int, size: int | None) -> None:
        if self._clock.now() - self._told_at >= _TELL_SECONDS:
            self._told_at = self._clock.now()
            self._listen(Downloading(here=here, size=size))

    def _waiting(self, reason: str, seconds: float) -> None:
        self._listen(Waiting(reason=reason, seconds=seconds))


def _register_body(name: str, version: str, options: AgentOptions, platform: dict[str, Any]) -> wire.Register:
    try:
        return wire.Register(
            name=name,
            client_version=version,
            roles=list(options.roles),
            platform=platform,
            request_id=new_id("req"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"--{field}: {first['msg']}", hint="give another one") from None
