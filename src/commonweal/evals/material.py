"""The instances of a run: which of a scenario's they are, the hash of all, and the examples for the prompt.

Knows scenarios and their readers; knows no model. A scenario is read once from end to end, which gives the hash and the
number of its instances; up to KEPT are then held, beyond that the scenario is read a second time as the run goes on, so
that memory does not grow with the scenario. Instances for training are let go once the examples are chosen.

The subset under ``max_instances`` is HELM's: the first of a permutation that NumPy's RandomState(seed) draws
(``downsample_eval_instances``), so a larger subset contains a smaller one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from commonweal.core.errors import DataError
from commonweal.evals.instance import Instance

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

    @property
    def size(self) -> int:
        """How many instances are asked."""
        return self.total if self.chosen is None else len(self.chosen)

    def instances(self) -> Iterator[Instance]:
        """The instances to ask, in the scenario's order."""
        if self._kept is not None:
            return iter(self._kept)
        return self._again()

    def _again(self) -> Iterator[Instance]:
        asked = (instance for instance in self._read() if not instance.is_train)
        if self.chosen is None:
            return asked
        return (instance for place, instance in enumerate(asked) if place in self.chosen)


def gather(read: Read, *, max_instances: int, seed: int) -> Material:
    """Read a scenario. Raises what its reader raises, and DataError for one without instances or with two of one id."""
    digest, ids = hashlib.sha256(), set[int]()
    train: list[Instance] = []
    kept: list[Instance] | None = []
    total = 0
    for instance in read():
        digest.update(_bytes(instance))
        if instance.is_train:
            train.append(instance)
            continue
        total += 1
        ids.add(hash(instance.id))
        if kept is not None:
            kept.append(instance)
            if len(kept) > KEPT:
                kept = None
    _check(total, ids)
    chosen = subset(total, max_instances, seed)
    if kept is not None and chosen is not None:
        kept = [instance for place, instance in enumerate(kept) if place in chosen]
    return Material(rows=digest.hexdigest(), total=total, chosen=chosen, train=train, _read=read, _kept=kept)


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
