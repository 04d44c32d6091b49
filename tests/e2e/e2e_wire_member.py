"""A member made by hand from the protocol's own calls, in a thread: honest, or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from e2e_pool import HubProcess

from commonweal import __version__
from commonweal.core.clock import SystemClock
from commonweal.core.errors import CommonwealError
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId, new_id
from commonweal.core.work import Outcome, Task
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.patience import Retry
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.upload import Uploads
from commonweal.train.executor import TrainExecutor
from commonweal.train.spec import UNIT_KIND

BEAT_SECONDS = 0.5


@dataclass
class Window:
    """The executor's world: blobs by name, from the hub."""

    get: Callable[[BlobHash], bytes]
    stop: threading.Event = field(default_factory=threading.Event)

    def progress(self, amount_done: int) -> None:
        pass


class WireMember:
    """Speaks to the hub by :class:`HubClient`. Use it in one thread."""

    def __init__(self, hub: HubProcess, name: str) -> None:
        self.name = name
        self.api = HubClient(hub.url, version=__version__)
        body = wire.Register(
            name=name, client_version=__version__, roles=["train"], request_id=new_id("req"), platform={}
        )
        registered = self.api.register(body, hub.keys["join_token"])
        self.id = MemberId(registered.member)
        self.api.key = registered.key
        self._blobs = PoolClient(hub.url, registered.key, version=__version__)
        clock = SystemClock()
        retry = Retry(clock, Random(0))
        self._uploads = Uploads(self.api, retry, Meter(clock), TokenBucket(None, clock))
        self._executor = TrainExecutor(None, threads=1)
        self._stop = threading.Event()

    def close(self) -> None:
        self._executor.close()
        self._blobs.close()
        self.api.close()

    def lease(self, wait: float = 5.0) -> wire.Lease | None:
        return self.api.lease(
            wire.LeaseRequest(
                roles=["train"], kinds=[UNIT_KIND], wait=wait, free_memory=2**40, request_id=new_id("req")
            )
        )

    def compute(self, lease: wire.Lease) -> Outcome:
        task = Task(
            job=JobId(lease.job),
            unit_key=lease.unit_key,
            kind=lease.kind,
            payload=lease.payload,
            amount=lease.amount,
            seconds=lease.seconds,
        )
        with self.beating(lease):
            return self._executor.run(task, Window(self._blobs.get, self._stop))

    def upload(self, data: bytes) -> BlobHash:
        return self._uploads.put(data, self._stop)

    def submit(
        self, lease: wire.Lease, outcome: Outcome, blobs: dict[str, BlobHash] | None = None
    ) -> wire.Submitted:
        """Hand in. What is not given as ``blobs`` is uploaded."""
        named = blobs if blobs is not None else {n: self.upload(data) for n, data in outcome.blobs.items()}
        body = wire.Submit(
            fence=lease.fence,
            amount_done=outcome.amount_done,
            seconds=outcome.seconds,
            report=outcome.report,
            blobs=dict(named),
        )
        return self.api.submit(lease.unit, body)

    def release(self, lease: wire.Lease) -> None:
        self.api.release(lease.unit, wire.Release(fence=lease.fence))

    def beat(self, lease: wire.Lease) -> wire.HeartbeatReply:
        return self.api.heartbeat(
            wire.Heartbeat(state="working", leases=[wire.Progress(unit=lease.unit, fence=lease.fence)])
        )

    @contextmanager
    def beating(self, lease: wire.Lease) -> Iterator[None]:
        over = threading.Event()

        def beats() -> None:
            while not over.wait(BEAT_SECONDS):
                try:
                    self.beat(lease)
                except CommonwealError:
                    return

        thread = threading.Thread(target=beats, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


Change = Callable[[Task | wire.Lease, Outcome], Outcome]


class Working:
    """Members that work in threads of their own until the end of the block. ``changes`` is what each does to its
    outcomes before it hands them in; failures are raised at the end."""

    def __init__(
        self, members: list[WireMember], changes: dict[str, Callable[[Outcome], Outcome]] | None = None
    ) -> None:
        self._members, self._changes = members, changes or {}
        self._over = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._work, args=(m,), daemon=True) for m in members]

    def __enter__(self) -> Working:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        if error[0] is None and self._failures:
            raise self._failures[0]

    def _work(self, member: WireMember) -> None:
        change = self._changes.get(member.name, lambda outcome: outcome)
        try:
            while not self._over.is_set():
                lease = member.lease(wait=1.0)
                if lease is None:
                    continue
                outcome = change(member.compute(lease))
                try:
                    member.submit(lease, outcome)
                except CommonwealError as error:  # the lease was lost, or the job is over
                    if error.status not in (404, 409):
                        raise
                    time.sleep(0.05)
        except Exception as error:
            self._failures.append(error)
