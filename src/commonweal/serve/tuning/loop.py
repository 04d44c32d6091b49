"""The loop that moves fine-tuning jobs on, in any hub process, each job in one of them at a time.

It looks at every job once a tick, and again at once while there is more to do. A job that cannot go on for now
(the database, the store or a worker is away) is tried again, later each time and so often at most; one whose own
fault it is fails with a code, a message and a parameter. The process may be killed at any point.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import (
    CommonwealError,
    InsufficientCredits,
    NotFound,
    Overloaded,
    Unavailable,
    UserError,
)
from commonweal.serve.tuning.jobs import TuningJob, changed, tell, under_way
from commonweal.serve.tuning.stages import Stages
from commonweal.serve.tuning.trainer import BadExamples, Trainer

log = logging.getLogger(__name__)

MOST_TROUBLE = 20
"""Failures in a row of something that may be better the next time; with the pauses between them, about 15 minutes."""
MOST_SURPRISES = 3
"""Failures in a row that nobody foresaw."""
_LONGEST_PAUSE = 60.0
_AT_ONCE = 2
_TICK_SECONDS = 1.0


class Tuner:
    """Moves jobs. ``run`` is a thread's whole work; ``step`` is one job's turn."""

    def __init__(self, database: Database, blobs: Blobs, trainer: Trainer, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._stages = Stages(database=database, blobs=blobs, trainer=trainer, clock=clock)
        self._wake = threading.Event()

    def happened(self) -> None:
        """Look now and not at the next tick. From any thread."""
        self._wake.set()

    def run(self, stop: threading.Event, *, tick_seconds: float = _TICK_SECONDS) -> None:
        """Move jobs until told to stop; steps under way are finished first."""
        going: dict[str, Future[bool]] = {}
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="tuning") as pool:
            while not stop.is_set():
                try:
                    for job in self.waiting():
                        if job not in going or going[job].done():
                            going[job] = pool.submit(self.drive, job, stop)
                    going = {job: step for job, step in going.items() if not step.done()}
                except Exception as error:  # this thread must outlive whatever happens to it
                    log.warning("tuning.waits error=%s", error)
                self._wake.wait(tick_seconds)
                self._wake.clear()

    def waiting(self) -> list[str]:
        """The jobs that something may have to be done for."""
        with self._database.transaction() as connection:
            return [job.id for job in under_way(connection, self._clock.now())]

    def drive(self, job: str, stop: threading.Event | None = None) -> bool:
        """Step a job as long as there is more to do at once."""
        try:
            while self.step(job):
                if stop is not None and stop.is_set():
                    return True
        except Exception as error:
            log.warning("tuning.step_waits job=%s error=%s", job, error)
        return False

    def step(self, job: str) -> bool:
        """Do the next thing for a job, unless another process is at it; True if there may be more at once."""
        with self._database.exclusive(f"tuning {job}") as mine:
            if not mine:
                return False
            with self._database.transaction() as connection:
                found = under_way(connection, self._clock.now(), job=job)
            if not found:
                return False
            try:
                return self._stages.step(found[0])
            except Exception as error:
                self._failed(found[0], error)
                return False

    def _failed(self, job: TuningJob, error: Exception) -> None:
        """Try again later, or let the job fail."""
        now = self._clock.now()
        again = _worth_trying(error, job.trouble)
        log.log(
            logging.WARNING if isinstance(error, CommonwealError) else logging.ERROR,
            "tuning.trouble job=%s stage=%s again=%s error=%s",
            job.id,
            job.stage,
            again,
            error,
            exc_info=None if isinstance(error, CommonwealError) else error,
        )
        with self._database.transaction() as connection:
            if again:
                pause = min(_LONGEST_PAUSE, 2.0**job.trouble)
                changed(connection, job, trouble=job.trouble + 1, not_before=now + pause)
                return
            # What is in the pool must not go on there, so a job of the pool ends by way of 'stop'.
            left = job.stage in ("submit", "watch")
            told = _told(error)
            status = job.status if job.status == "cancelled" else "failed"
            if changed(
                connection,
                job,
                stage="stop" if left else "over",
                status=status,
                error=told,
                finished=job.finished or now,
                estimated_finish=None,
                trouble=0,
            ):
                tell(connection, job.id, f"The job failed: {told['message']}", now, level="error")
                for line in error.details if isinstance(error, BadExamples) else ():
                    tell(connection, job.id, line, now, level="error")


def _worth_trying(error: Exception, trouble: int) -> bool:
    if isinstance(error, Unavailable | Overloaded):
        return trouble < MOST_TROUBLE
    return not isinstance(error, CommonwealError) and trouble < MOST_SURPRISES


def _told(error: Exception) -> dict[str, str | None]:
    """A job's error as its owner sees it."""
    if not isinstance(error, CommonwealError):
        return {
            "code": "internal_error",
            "message": "The hub made a mistake; its log says which.",
            "param": None,
        }
    code = "insufficient_quota" if isinstance(error, InsufficientCredits) else error.code
    if isinstance(error, NotFound):
        code = "model_not_found" if "model" in error.message else "not_found"
    message = f"{error.message}. {error.hint}" if error.hint else error.message
    param = getattr(error, "param", None) or ("training_file" if isinstance(error, UserError) else None)
    return {"code": code, "message": message[:2000].replace("\0", ""), "param": param}
