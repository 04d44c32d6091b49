"""Which worker gets an ask, and which loads a model: pure decisions over what is known now.

An account's own worker comes first, and a judge for an audit. Of the others, the one that is expected to be done
first; a process that is further away costs a little. A model is loaded where it fits, if need be in place of models
that nobody asked for lately."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from commonweal.serve.router.worker import RouterOptions, Wanted, Worker, size_of, speed_of

_DETOUR_SECONDS = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Load the model on ``worker``, after it unloaded ``evict`` (identities)."""

    worker: Worker
    evict: tuple[str, ...] = ()


def allowed(worker: Worker, wanted: Wanted, now: float, options: RouterOptions) -> bool:
    """Whether this worker may be given this ask at all, now or later."""
    lender = worker.lender
    own = lender.owner == wanted.account
    return (
        not worker.leaving
        and (wanted.audit or not worker.judges)
        and now - worker.heard <= options.silence
        and worker.id not in wanted.tried
        and lender.member not in wanted.excludes
        and (own or not (wanted.own or (wanted.trusted and not lender.trusted)))
        and not (wanted.here and worker.hub)
    )


def expected(worker: Worker, wanted: Wanted, options: RouterOptions) -> float:
    """Seconds until the whole answer is there, if it starts now."""
    speed = speed_of(worker, wanted.identity, options)
    crowded = 1.0 + worker.running / worker.slots
    seconds = speed.first + wanted.tokens / max(speed.tokens, 0.01)
    return seconds * crowded + (_DETOUR_SECONDS if worker.hub else 0.0)


def choose(workers: Iterable[Worker], wanted: Wanted, now: float, options: RouterOptions) -> Worker | None:
    """The best worker that can begin at once, or None."""
    best: tuple[bool, bool, float, str] | None = None
    chosen: Worker | None = None
    for worker in workers:
        if worker.running >= worker.slots or wanted.identity not in worker.models:
            continue
        if not allowed(worker, wanted, now, options):
            continue
        rank = (
            worker.lender.owner != wanted.account,
            wanted.audit and not worker.judges,
            expected(worker, wanted, options),
            worker.id,
        )
        if best is None or rank < best:
            best, chosen = rank, worker
    return chosen


def serving(workers: Iterable[Worker], wanted: Wanted, now: float, options: RouterOptions) -> list[Worker]:
    """The workers that can answer it sooner or later: it is loaded there, or will be."""
    return [
        worker
        for worker in workers
        if (wanted.identity in worker.models or wanted.identity in worker.loading)
        and allowed(worker, wanted, now, options)
    ]


def place(workers: Iterable[Worker], wanted: Wanted, now: float, options: RouterOptions) -> Placement | None:
    """Where to load a model that is loaded nowhere (or not often enough), or None if it fits nowhere."""
    made = []
    for worker in workers:
        identity = wanted.identity
        if (
            not worker.loads
            or worker.loading
            or identity in worker.models
            or identity in worker.failed
            or wanted.model.kind == "fronted"
            or not allowed(worker, wanted, now, options)
        ):
            continue
        evict = _room(worker, wanted, options)
        if evict is not None:
            made.append((_convenience(worker, wanted, evict), Placement(worker=worker, evict=evict)))
    return min(made, key=lambda pair: pair[0])[1] if made else None


def _convenience(
    worker: Worker, wanted: Wanted, evict: Sequence[str]
) -> tuple[bool, bool, bool, int, bool, float, int, str]:
    base = wanted.model.base
    return (
        worker.lender.owner != wanted.account,
        wanted.audit and not worker.judges,
        base is not None and base.identity not in worker.models,
        len(evict),
        bool(worker.hub),
        worker.running / worker.slots,
        -worker.free,
        worker.id,
    )


def _room(worker: Worker, wanted: Wanted, options: RouterOptions) -> tuple[str, ...] | None:
    """What to unload so that it fits, the longest unused first; None if it cannot fit."""
    model = wanted.model
    needed = size_of(model)
    keep = {model.identity}
    if model.base is not None:
        keep.add(model.base.identity)
        if model.base.identity not in worker.models:
            needed += size_of(model.base)
    free, evict = worker.free, []
    idle = sorted(worker.held.items(), key=lambda pair: (-pair[1].idle, pair[0]))
    for identity, held in idle:
        if free >= needed:
            break
        if identity not in keep and held.idle >= options.keep:
            evict.append(identity)
            free += held.size
    return tuple(evict) if free >= needed else None
