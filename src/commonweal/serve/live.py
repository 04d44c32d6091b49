"""The state of serving as plain data: one function gathers it; pages, commands and metrics are renderings of it."""

from __future__ import annotations

from typing import Any

from commonweal.serve.router.worker import Worker
from commonweal.serve.serving import Serving

Json = dict[str, Any]


def gather(serving: Serving, now: float) -> Json:
    """Workers (of all hub processes), models, what waits, and what this process did. Times are in seconds."""
    dispatcher = serving.dispatcher
    workers = sorted(dispatcher.workers.values(), key=lambda worker: worker.id)
    made: Json = {
        "hub": serving.hub,
        "peers": serving.peers.others,
        "workers": [_worker(worker, now) for worker in workers],
        "models": [_model(identity, workers, serving) for identity in sorted(_names(workers))],
        "waiting": len(dispatcher.queue),
        "open": serving.counter.open,
        "answered": serving.counter.answered,
        "books": serving.books.state(),
    }
    if serving.auditor is not None:
        made["audits"] = {**serving.auditor.counts, "waiting": serving.auditor.waiting}
    return made


def _worker(worker: Worker, now: float) -> Json:
    return {
        "id": worker.id,
        "member": worker.lender.member,
        "owner": worker.lender.owner,
        "trusted": worker.lender.trusted,
        "reputation": worker.lender.reputation,
        "here": not worker.hub,
        "engine": worker.engine,
        "slots": worker.slots,
        "running": worker.running,
        "memory": worker.memory,
        "free": worker.free,
        "models": sorted(worker.names),
        "loading": sorted(worker.loading),
        "leaving": worker.leaving,
        "judges": worker.judges,
        "silent_seconds": max(0.0, now - worker.heard),
    }


def _model(identity: str, workers: list[Worker], serving: Serving) -> Json:
    have = [worker for worker in workers if identity in worker.models and not worker.judges]
    speeds = [worker.measured.get(identity) or worker.speeds.get(identity) for worker in have]
    known = [speed for speed in speeds if speed is not None]
    duration = serving.dispatcher.durations.get(identity)
    return {
        "identity": identity,
        "names": sorted(_names(workers)[identity]),
        "workers": len(have),
        "loading": sum(identity in worker.loading for worker in workers),
        "slots": sum(worker.slots for worker in have),
        "running": sum(worker.running for worker in have),
        "waiting": serving.dispatcher.queue.waiting(identity),
        "tokens_per_second": max((speed.tokens for speed in known), default=None),
        "first_token_seconds": min((speed.first for speed in known), default=None),
        "answer_seconds": None if duration is None else duration.seconds,
    }


def _names(workers: list[Worker]) -> dict[str, set[str]]:
    """What each loaded model is called, by identity."""
    found: dict[str, set[str]] = {}
    for worker in workers:
        for name, identity in worker.names.items():
            found.setdefault(identity, set()).add(name)
        for identity in worker.loading:
            found.setdefault(identity, set())
    return found
