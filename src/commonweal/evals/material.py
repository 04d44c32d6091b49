"""The instances of a run: which of a scenario's they are, the hash of all, and the examples for the prompt.

Knows scenarios and their readers; knows no model. A scenario is read once from end to end, which gives the hash and the
number of its instances; up to KEPT are then held, more wait on disk (:mod:`~commonweal.evals.spool`), so that memory
does not grow with the scenario; where they cannot wait there, it is read a second time as the run goes on. Instances
for training are let go once the examples are chosen.

The subset under ``max_instances`` is HELM's: the first of a permutation that NumPy's RandomState(seed) draws
(``downsample_eval_instances``), so a larger subset contains a smaller one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import DataError
from commonweal.evals.instance import Instance
from commonweal.evals.spool import Spool

log = logging.getLogger(__name__)

Read = Callable[[], Iterable[Instance]]

KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What was read: ``rows`` is the hash of all instances, ``total`` how many there are to ask, ``chosen`` the places
    of those that are asked (None: all)."""

    rows: str
    total: int
    chosen: frozenset[int] | None
    train: Sequence[Instance]
    _read: Read
    _kept: Sequence[Instance] | None
    _spool: Spool | None

    @property
    def size(self) -> int:
        """How many instances are asked."""
        return self.total if self.chosen is None else len(self.chosen)

    def instances(self) -> Iterator[Instance]:
        """The instances to ask, in the scenario's order."""
        if self._kept is not None:
            return iter(self._kept)
        return self._again()

    def close(self) -> None:
        """Let go what waits on disk."""
        if self._spool is not None:
            self._spool.close()

    def _again(self) -> Iterator[Instance]:
        asked: Iterable[Instance] = self._spool if self._spool is not None else self._read()
        asked = (instance for instance in asked if not instance.is_train)
        if self.chosen is None:
            return asked
        return (instance for place, instance in enumerate(asked) if place in self.chosen)


def gather(read: Read, *, max_instances: int, seed: int, folder: Path | None = None) -> Material:
    """Read a scenario. ``folder`` is where instances may wait on disk, None for the system's own place. Close what is
    returned. Raises what the reader raises, and DataError for one without instances or with two of one id."""
    digest, ids = hashlib.sha256(), set[int]()
    train: list[Instance] = []
    waiting = _Waiting(folder)
    total = 0
    try:
        for instance in read():
            digest.update(_bytes(instance))
            if instance.is_train:
                train.append(instance)
                continue
            total += 1
            ids.add(hash(instance.id))
            waiting.add(instance)
        waiting.finish()
        _check(total, ids)
    except BaseException:
        waiting.close()
        raise
    chosen, kept = subset(total, max_instances, seed), waiting.kept
    if kept is not None and chosen is not None:
        kept = [instance for place, instance in enumerate(kept) if place in chosen]
    return Material(
        rows=digest.hexdigest(),
        total=total,
        chosen=chosen,
        train=train,
        _read=read,
        _kept=kept,
        _spool=waiting.spool,
    )


class _Waiting:
    """Instances in memory as long as they are few (``kept``), then on disk (``spool``); neither where they cannot be
    there."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.kept: list[Instance] | None = []
        self.spool: Spool | None = None

    def add(self, instance: Instance) -> None:
        if self.kept is None:
            self._put([instance])
            return
        self.kept.append(instance)
        if len(self.kept) > KEPT:
            waiting, self.kept = self.kept, None
            try:
                self.spool = Spool(self._folder)
            except OSError as error:
                log.info("not_spooled reason=%s", error)
            self._put(waiting)

    def finish(self) -> None:
        """All are there."""
        self._put([])

    def _put(self, instances: Sequence[Instance]) -> None:
        if self.spool is None:
            return
        try:
            for instance in instances:
                self.spool.add(instance)
            if not instances:
                self.spool.flush()
        except (ValueError, OSError) as error:
            log.info("not_spooled reason=%s", error)
            self.close()

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
            self.spool = None


def subset(total: int, wanted: int, seed: int) -> frozenset[int] | None:
    """The places of ``wanted`` of ``total`` instances; None where all are wanted (0, or as many as there are)."""
    if not wanted or wanted >= total:
        return None
    import numpy as np

    return frozenset(np.random.RandomState(seed).permutation(total)[:wanted].tolist())


def _check(total: int, ids: set[int]) -> None:
    if not total:
        raise DataError("no instances to ask", hint="the data has none of split valid or test")
    if len(ids) < total:
        raise DataError(
            f"{total - len(ids)} of {total} instances have the id of another one", hint="give each its own id"
        )


def _bytes(instance: Instance) -> bytes:
    """What of an instance makes a difference to its prompts and scores."""
    parts: list[object] = [
        instance.id,
        instance.input,
        [(reference.text, reference.correct, reference.grade) for reference in instance.references],
        instance.split,
        instance.subset,
        instance.turns,
        [(contrast.input, contrast.references) for contrast in instance.contrasts],
        sorted(instance.extra.items()),
        [hashlib.sha256(image.data).digest() for image in instance.images],
    ]
    return repr(parts).encode("utf-8", "surrogatepass")
