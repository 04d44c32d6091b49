"""A member's share of one job, from round to round: the model, its optimizer, and what it knows of the pool's
weights.

Three vectors over the trained parameters, and how they relate:

- ``anchor`` is the state that all members share, proven by its hash. Only updates of the chain change it.
- the model's own weights ("local") begin at the anchor and drift from it by inner steps. A part of the vector
  returns to the anchor when an update for it arrives; with several fragments the other parts keep their drift
  until it is their turn. Steps taken while an update was on its way are kept on top of it.
- ``residual`` is what compression still owes. What a contribution would change of it is *pending* until the
  chain says that the contribution was folded; one that was late or refused changes nothing, as the pool never
  saw it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commonweal.core.work import Outcome
from commonweal.models.parameters import read, write
from commonweal.train.assignment import Assignment
from commonweal.train.chain import catch_up, path_from, state_from
from commonweal.train.codecs import encode_with_feedback, make_codec
from commonweal.train.config import InnerSettings
from commonweal.train.inner import run_steps
from commonweal.train.judge import DELTA
from commonweal.train.lessons import lessons_of
from commonweal.train.memory import Memory, Pending, load_memory, save_memory
from commonweal.train.optimizer import InnerOptimizer, InnerOptions
from commonweal.train.replica import Get, open_model
from commonweal.train.schedule import RateOptions, learning_rate
from commonweal.train.spec import WorkerSpec

log = logging.getLogger(__name__)

Range = tuple[int, int]

_SAVE_SHARE = 20


@dataclass(slots=True)
class Ahead:
    """Inner steps taken while the last contribution was on its way."""

    stop: threading.Event
    thread: threading.Thread | None = None
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failed: bool = False


class Session:
    """One job on one member. Not safe for several threads but for its own."""

    def __init__(
        self,
        spec: WorkerSpec,
        train: InnerSettings,
        get: Get,
        *,
        file: Path | None = None,
        device: str = "cpu",
    ) -> None:
        model, self.layout = open_model(spec, get, device=device)
        self.model: Any = model
        self.train = train
        self.memory: Memory | None = None
        names = [f"model.{entry.name}" for entry in self.layout.entries]
        options = InnerOptions(
            optimizer=train.optimizer, weight_decay=train.weight_decay, grad_clip=train.clip_norm
        )
        self._lessons = lessons_of(spec, train, lambda name: self._get(name))
        self.optimizer = InnerOptimizer(self._lessons.learner(model), names, options)
        self._ahead: Ahead | None = None
        self._get = get
        self._file = file
        self._saved_at, self._save_seconds = -math.inf, 0.0
        self._restore()

    def run(
        self,
        terms: Assignment,
        unit_key: str,
        amount: int,
        *,
        seconds: float,
        get: Get,
        stopped: Callable[[], bool],
        progress: Callable[[int], None],
    ) -> Outcome:
        """Do a unit: come to its base, take ``amount`` inner steps, or as many as ``seconds`` allow, and
        encode what changed. An outcome of amount 0 means that it was stopped."""
        started, self._get = time.monotonic(), get
        ahead = self._halt()
        down_bytes, kept = self._come_to(terms, get)
        if not kept:
            ahead = Ahead(threading.Event())
        memory = self._memory()
        memory.clean = False
        stream = self._lessons.batches(slot=terms.slot, slots=terms.slots, start=terms.position)
        taken = min(len(ahead.losses), amount)
        report = run_steps(
            self.optimizer,
            stream,
            amount - taken,
            self._rate(terms),
            first_step=terms.step + taken,
            should_stop=stopped,
            seconds=seconds - (time.monotonic() - started),
            on_step=lambda done: progress(taken + done),
        )
        losses = [*ahead.losses[:taken], *report.losses]
        if stopped() or not losses:
            return Outcome(report={}, amount_done=0, seconds=time.monotonic() - started)
        encoding = time.monotonic()
        data = self._contribution(terms, unit_key)
        memory.clean = True
        computing = ahead.seconds + report.seconds
        self._go_on(terms, stream, len(losses))
        return Outcome(
            report={
                "state_hash": memory.anchor_hash,
                "steps": len(losses),
                "tokens": len(losses) * self.train.tokens_per_step,
                "loss": math.fsum(losses) / len(losses),
                "loss_first": losses[0],
                "loss_last": losses[-1],
                "down_bytes": down_bytes,
                "codec_seconds": time.monotonic() - encoding,
            },
            blobs={DELTA: data},
            amount_done=len(losses),
            seconds=max(computing, 1e-6),
        )

    def close(self) -> None:
        """End the steps under way."""
        if self._halt().losses and self.memory is not None:
            self.memory.clean = False

    def _memory(self) -> Memory:
        assert self.memory is not None, "a session has weights once it came to a base"
        return self.memory

    def _come_to(self, terms: Assignment, get: Get) -> tuple[int, bool]:
        """Bring anchor and model to the unit's base. Returns the bytes of weights and updates that it took,
        and whether steps taken ahead are still in the model."""
        memory = self.memory
        if memory is None:
            return self._fetch_whole(terms, get), False
        self._settle(memory, {key for update in terms.chain for key in update.folded})
        path = path_from(terms.chain, memory.anchor_hash, terms.base)
        got = catch_up(memory.anchor, memory.anchor_hash, terms.chain, terms.base, get)
        if got is None:
            return self._fetch_whole(terms, get), False
        memory.anchor_hash = terms.base
        kept = memory.clean
        if kept:
            synced = {(update.start, update.stop) for update in path or ()}
            if memory.pending is not None:  # it was not folded: its steps are given up
                synced.add((memory.pending.start, memory.pending.stop))
            self._return_to_anchor(memory, synced)
        else:
            write(self.model, self.layout, memory.anchor)
        memory.pending = None
        return got, kept

    def _fetch_whole(self, terms: Assignment, get: Get) -> int:
        """Start afresh from the whole state. What compression owed to weights long gone is forgotten."""
        self.memory = None
        anchor = state_from(get(terms.base), self.layout.size)
        write(self.model, self.layout, anchor)
        self.memory = Memory(anchor=anchor, anchor_hash=terms.base)
        return 4 * self.layout.size

    def _settle(self, memory: Memory, folded: set[str]) -> None:
        """Take over what the last contribution changed of the residual, if it was folded."""
        pending = memory.pending
        if pending is None or pending.unit_key not in folded:
            return
        if memory.residual is None:
            memory.residual = np.zeros(self.layout.size, np.float32)
        memory.residual[pending.start : pending.stop] = pending.residual
        memory.pending = None

    def _return_to_anchor(self, memory: Memory, synced: Iterable[Range]) -> None:
        """Set the model's synchronized parts to the anchor, plus what was done since the contribution was
        cut."""
        if memory.local is None:
            return
        local = read(self.model, self.layout)
        for start, stop in synced:
            since = local[start:stop] - memory.local[start:stop]
            local[start:stop] = memory.anchor[start:stop] + since
        write(self.model, self.layout, local)

    def _contribution(self, terms: Assignment, unit_key: str) -> bytes:
        """The encoded pseudo-gradient of the unit's part: where the round began minus where it led."""
        memory, part = self._memory(), slice(terms.start, terms.stop)
        memory.local = read(self.model, self.layout)
        owed = None if memory.residual is None else memory.residual[part]
        encoded = encode_with_feedback(
            make_codec(terms.codec), memory.anchor[part] - memory.local[part], owed, seed=terms.seed
        )
        memory.pending = Pending(
            unit_key=unit_key, start=terms.start, stop=terms.stop, residual=encoded.residual
        )
        return encoded.data

    def _rate(self, terms: Assignment) -> Callable[[int], float]:
        options = RateOptions(peak=self.train.lr, warmup=self.train.warmup, final=self.train.final_lr)
        return lambda step: learning_rate(step, terms.total_steps, options)

    def _go_on(self, terms: Assignment, stream: Iterator[Any], done: int) -> None:
        """While the contribution is on its way: save what is not to be forgotten, and with overlap go on with
        inner steps, as many again at most, until the next unit comes."""
        ahead = Ahead(threading.Event())

        def work() -> None:
            try:
                self._save()
                if terms.overlap:
                    report = run_steps(
                        self.optimizer,
                        stream,
                        done,
                        self._rate(terms),
                        first_step=terms.step + done,
                        should_stop=ahead.stop.is_set,
                    )
                    ahead.losses, ahead.seconds = report.losses, report.seconds
            except Exception:  # the steps were a gift: the next unit starts without them
                log.exception("session.ahead_failed")
                ahead.failed = True

        ahead.thread = threading.Thread(target=work, name="between-units", daemon=True)
        self._ahead = ahead
        ahead.thread.start()

    def _save(self) -> None:
        """Save, unless that would cost more than a twentieth of the time."""
        if self._file is None or self.memory is None:
            return
        started = time.monotonic()
        if started - self._saved_at < _SAVE_SHARE * self._save_seconds:
            return
        save_memory(self._file, self.memory, self.optimizer.state())
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def _restore(self) -> None:
        found = None if self._file is None else load_memory(self._file, self.layout.size)
        if found is None:
            return
        self.memory, moments = found
        self.optimizer.load_state(moments)
        local = self.memory.anchor if self.memory.local is None else self.memory.local
        write(self.model, self.layout, local)

    def _halt(self) -> Ahead:
        """Stop the steps under way at a step's end, and say what they were."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.thread is None:
            return Ahead(threading.Event())
        ahead.stop.set()
        ahead.thread.join()
        if ahead.failed and self.memory is not None:
            self.memory.clean = False
            return Ahead(threading.Event())
        return ahead
