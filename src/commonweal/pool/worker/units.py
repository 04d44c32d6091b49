"""Doing one leased unit, from the lease to the hub's receipt: compute, upload, submit.

It runs in one thread and gives up, raising Stopped, soon after the lease's ``stop`` is set.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from commonweal.core.errors import Conflict, InvalidContribution, NotFound, Unavailable
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId
from commonweal.core.work import Executor, Outcome, Task
from commonweal.pool import wire
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.download import Downloads
from commonweal.pool.worker.events import Listener, Progressed, Submitted, Uploading
from commonweal.pool.worker.executors import Executors
from commonweal.pool.worker.held import Held
from commonweal.pool.worker.machine import return_memory
from commonweal.pool.worker.patience import UNTIL_STOPPED, Retry, Stopped
from commonweal.pool.worker.throttle import Meter
from commonweal.pool.worker.upload import Uploads

log = logging.getLogger(__name__)


class Units:
    """Does units with the executors it was given."""

    def __init__(
        self,
        client: HubClient,
        executors: Executors,
        downloads: Downloads,
        uploads: Uploads,
        meter: Meter,
        retry: Retry,
        listen: Listener,
    ) -> None:
        self._client, self._executors, self._retry, self._meter = client, executors, retry, meter
        self._downloads, self._uploads, self._listen = downloads, uploads, listen

    def perform(self, held: Held) -> Submitted:
        """Do the unit of ``held`` and hand it in.

        Raises Stopped when it is not wanted any more; else whatever the executor or the transfers raised.
        """
        outcome = self._compute(held)
        if held.stop.is_set():
            raise Stopped
        self._listen(Uploading(unit=held.lease.unit, size=sum(map(len, outcome.blobs.values()))))
        blobs = {name: self._uploads.put(data, held.stop) for name, data in outcome.blobs.items()}
        return self._submit(held, outcome, blobs)

    def let_go(self) -> None:
        """Drop all that executors keep between units, and give the memory of it back to the system."""
        self._executors.close()
        return_memory()

    def close(self) -> None:
        self._executors.close()

    def _compute(self, held: Held) -> Outcome:
        lease = held.lease
        task = Task(
            job=JobId(lease.job),
            unit_key=lease.unit_key,
            kind=lease.kind,
            payload=lease.payload,
            amount=lease.amount,
            seconds=lease.seconds,
        )
        executor = self._executors.get(lease.kind)
        try:
            return self._run(executor, task, held)
        except (Stopped, Unavailable):
            raise  # it was told so from outside; what it keeps between units is as good as before
        except BaseException:
            self._executors.discard(lease.kind)
            raise

    def _run(self, executor: Executor, task: Task, held: Held) -> Outcome:
        log.info("unit begun unit=%s kind=%s amount=%d", held.lease.unit, task.kind, task.amount)
        return executor.run(task, _Window(held, self._downloads, self._listen))

    def _submit(self, held: Held, outcome: Outcome, blobs: Mapping[str, BlobHash]) -> Submitted:
        unit, transfers = held.lease.unit, self._meter.take()
        try:
            body = self._body(held.lease, outcome, blobs, transfers)
            reply = self._retry.call(lambda: self._client.submit(unit, body), UNTIL_STOPPED, held.stop)
        except BaseException as error:
            self._meter.give_back(transfers)
            if isinstance(error, Conflict | NotFound):
                held.lose(error.message)
                raise Stopped from error
            raise
        return Submitted(
            unit=unit, amount_done=outcome.amount_done, seconds=outcome.seconds, duplicate=reply.duplicate
        )

    def _body(
        self,
        lease: wire.Lease,
        outcome: Outcome,
        blobs: Mapping[str, BlobHash],
        transfers: wire.Transfers,
    ) -> wire.Submit:
        """What to hand in. A report that cannot be sent (a loss that is no number, say) comes from an executor
        that has lost its way: it is dropped."""
        try:
            return wire.Submit(
                fence=lease.fence,
                amount_done=outcome.amount_done,
                seconds=outcome.seconds,
                report=outcome.report,
                blobs=dict(blobs),
                transfers=transfers,
            )
        except ValidationError as error:
            self._executors.discard(lease.kind)
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "report"
            raise InvalidContribution(
                f"what the executor handed in cannot be sent: {field}: {first['msg']}"
            ) from None


class _Window:
    """The executor's view of the world outside (:class:`commonweal.core.work.WorkIO`)."""

    def __init__(self, held: Held, downloads: Downloads, listen: Listener) -> None:
        self.stop = held.stop
        self._held, self._downloads, self._listen = held, downloads, listen

    def get(self, blob: BlobHash) -> bytes:
        return self._downloads.get(blob, self.stop)

    def progress(self, amount_done: int) -> None:
        self._held.amount_done = amount_done
        lease = self._held.lease
        self._listen(Progressed(unit=lease.unit, amount_done=amount_done, amount=lease.amount))
