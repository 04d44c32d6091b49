"""The loop that works on batches, in any hub process, each batch in one of them at a time.

It asks when machines are idle: with a negative priority, so many lines at once, and again later where nobody has time
for one. An answer is stored the moment it is there, and a line that has one is never asked again; so a process may be
killed at any point, and another goes on with the lines that are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.core.ids import new_id
from commonweal.serve.batches import orders
from commonweal.serve.batches.orders import Answered, Batch, Status
from commonweal.serve.batches.reading import Line, check, read, split
from commonweal.serve.batches.writing import line_of, line_of_error, write
from commonweal.serve.exclusive import exclusive
from commonweal.serve.files import shelf
from commonweal.serve.tending import tend

PRIORITY = -10
"""What a batch asks with: below everybody who waits for an answer."""
_BUSY = frozenset({429, 503, 504})
_LONGEST_PAUSE = 60.0
_EXPIRED = "This request could not be executed before the completion window expired."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a line's request: a status of HTTP and the body. ``again``: nobody had time for it now."""

    status: int
    body: Mapping[str, Any]
    again: bool = False


class Answerer(Protocol):
    """Answers a request as its route would, but for the key."""

    async def answer(
        self, endpoint: str, body: Mapping[str, Any], *, owner: str, request_id: str, priority: int
    ) -> Reply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """``at_once``: lines that one process asks at a time, over all batches, and that wait to be asked again, of one.
    ``tick_seconds``: how often it looks for new batches, and whether one was cancelled. ``pause_seconds``: the first
    wait before a line is asked again."""

    at_once: int = 32
    tick_seconds: float = 1.0
    pause_seconds: float = 1.0


class Batcher:
    """Works on batches. ``run`` is a task's whole work; ``drive`` is one batch's, as far as it goes."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        answerer: Answerer,
        clock: Clock,
        options: BatchOptions | None = None,
    ) -> None:
        self._database, self._blobs, self._answerer, self._clock = database, blobs, answerer, clock
        self._options = options or BatchOptions()
        self._places = asyncio.Semaphore(self._options.at_once)

    async def run(self) -> None:
        """Work until cancelled."""
        await tend("batch", self.waiting, self.drive, every=self._options.tick_seconds)

    def waiting(self) -> list[str]:
        """The batches that are not over."""
        with self._database.transaction() as connection:
            return orders.under_way(connection)

    async def drive(self, batch: str) -> None:
        """Take a batch as far as it goes, unless another process is at it."""
        async with exclusive(self._database, f"batch {batch}") as mine:
            if not mine:
                return
            while (found := await asyncio.to_thread(self._look, batch)).status in orders.OPEN:
                match found.status:
                    case "validating":
                        await asyncio.to_thread(self._validate, found)
                    case "in_progress":
                        await self._ask(found)
                    case _:
                        await asyncio.to_thread(self._finish, found)

    def _look(self, batch: str) -> Batch:
        with self._database.transaction() as connection:
            return orders.look(connection, batch)

    def _validate(self, batch: Batch) -> None:
        now = self._clock.now()
        try:
            found = check(self._lines(batch), batch.endpoint)
            errors = [error.to_json() for error in found.errors]
            total, model = found.total, found.model
        except NotFound:
            errors, total, model = [_gone(batch)], 0, None
        with self._database.transaction() as connection:
            values = {"total": total, "model": model, "errors": errors or None}
            orders.moved(connection, batch, "failed" if errors else "in_progress", now, **values)

    def _lines(self, batch: Batch) -> Iterator[tuple[int, bytes | None]]:
        return split(self._blobs.stream(batch.blob, 0, self._blobs.size(batch.blob)))

    async def _ask(self, batch: Batch) -> None:
        """Ask what has no answer yet, until all have one, or the batch's time or its owner's patience is over."""
        asking = asyncio.create_task(self._ask_all(batch))
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=self._options.tick_seconds)
                if self._clock.now() >= batch.expires or await self._was_cancelled(batch):
                    break
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if self._clock.now() >= batch.expires:
            await asyncio.to_thread(self._expire, batch)
        elif asking.cancelled():
            return  # its owner cancelled it: what comes next follows from its new status
        else:
            asking.result()
        await asyncio.to_thread(self._move, batch, "finalizing")

    async def _was_cancelled(self, batch: Batch) -> bool:
        return (await asyncio.to_thread(self._look, batch.id)).status != batch.status

    async def _ask_all(self, batch: Batch) -> None:
        done = await asyncio.to_thread(self._answered, batch.id)
        lines, waiting = self._lines(batch), asyncio.Semaphore(self._options.at_once)
        async with asyncio.TaskGroup() as group:
            while (found := await asyncio.to_thread(next, lines, None)) is not None:
                number, text = found
                line = read(number, text, batch.endpoint)
                if number in done or not isinstance(line, Line):
                    continue
                await waiting.acquire()
                group.create_task(self._answer(batch, line)).add_done_callback(lambda _: waiting.release())

    def _answered(self, batch: str) -> set[int]:
        with self._database.transaction() as connection:
            return orders.answered(connection, batch)

    async def _answer(self, batch: Batch, line: Line) -> None:
        """Ask one line until it is answered, and store that."""
        pause = self._options.pause_seconds
        while True:
            request_id = new_id("req")
            async with (
                self._places
            ):  # not while it pauses: a model that nobody serves must not hold up the others
                reply = await self._answerer.answer(
                    batch.endpoint, line.body, owner=batch.owner, request_id=request_id, priority=PRIORITY
                )
            if not reply.again:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        text = line_of(line.custom_id, request_id=request_id, status=reply.status, body=reply.body)
        good = reply.status < 400
        answer = Answered(line=line.number, good=good, body=text, usage=_usage(reply.body) if good else None)
        keeping = asyncio.ensure_future(asyncio.to_thread(self._keep, batch.id, answer))
        try:
            await asyncio.shield(keeping)
        finally:  # cancelled meanwhile: the files must not be written before the answer is in its row
            await keeping

    def _keep(self, batch: str, answer: Answered) -> None:
        with self._database.transaction() as connection:
            orders.keep(connection, batch, answer)

    def _expire(self, batch: Batch) -> None:
        """Its time is over: what was not answered is told so."""
        done = self._answered(batch.id)
        for number, text in self._lines(batch):
            line = read(number, text, batch.endpoint)
            if number in done or not isinstance(line, Line):
                continue
            told = line_of_error(line.custom_id, new_id("req"), code="batch_expired", message=_EXPIRED)
            self._keep(batch.id, Answered(line=number, good=False, body=told))

    def _move(self, batch: Batch, to: Status) -> None:
        with self._database.transaction() as connection:
            orders.moved(connection, batch, to, self._clock.now())

    def _finish(self, batch: Batch) -> None:
        """Write the files, and be done: with the last status and the rows of the files in one transaction."""
        now = self._clock.now()
        written = write(self._database, self._blobs, batch, now)
        with self._database.transaction() as connection:
            counts = orders.count(connection, batch.id)
            ended: Status = "completed"
            if batch.status == "cancelling":
                ended = "cancelled"
            elif now >= batch.expires and counts.completed < batch.total:
                ended = "expired"
            if not orders.moved(
                connection,
                batch,
                ended,
                now,
                counted=asdict(counts),
                output_file=written.output.id if written.output else None,
                error_file=written.errors.id if written.errors else None,
            ):
                return
            for file in (written.output, written.errors):
                if file is not None:
                    shelf.add(connection, file, most=None)
            orders.forget_answers(connection, batch.id)


def is_busy(status: int, code: str | None) -> bool:
    """Whether an error says that nobody has time now, and asking later may help."""
    return status in _BUSY and code != "insufficient_quota"


def _usage(body: Mapping[str, Any]) -> dict[str, int] | None:
    """The tokens of an answer, in the words of any of the endpoints."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return {
        "prompt_tokens": int(usage.get("prompt_tokens", usage.get("input_tokens", 0)) or 0),
        "completion_tokens": int(usage.get("completion_tokens", usage.get("output_tokens", 0)) or 0),
        "cached_tokens": int(details.get("cached_tokens", 0) or 0),
    }


def _gone(batch: Batch) -> dict[str, Any]:
    return {
        "code": "file_gone",
        "message": f"The bytes of '{batch.input_file}' are not in the store any more.",
        "line": None,
        "param": "input_file_id",
    }
