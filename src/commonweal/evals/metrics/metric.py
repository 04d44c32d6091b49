"""What a metric is.

Two kinds. A :class:`Metric` gives numbers of one sample; their mean is the stat. A :class:`SetMetric` is defined
over a set of samples only (a calibration error, a distance between distributions): it gives features of each
sample, and a value of any resample of them, so that its interval can be bootstrapped as any other's. Features are
numbers, so a run of 100,000 samples fits in memory.

What has to ask a model or run a program first is an :class:`Annotator`; its findings stand in
``sample.annotations``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from commonweal.core.completion import Completer
from commonweal.evals.sample import Sample

Column = NDArray[np.float64]
Aspect = Literal[
    "accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency", "general"
]


class Metric(Protocol):
    def score(self, sample: Sample) -> Mapping[str, float]:
        """Numbers of one answered sample, by stat name; a name that is missing is not defined for it."""
        ...


class SetMetric(Protocol):
    def features(self, sample: Sample) -> Mapping[str, float]:
        """What :meth:`value` needs of one sample (NaN where it has none)."""
        ...

    def value(self, columns: Mapping[str, Column]) -> Mapping[str, float]:
        """The stats of a (re)sample; each column has one number a sample. A name that is missing could not be
        measured."""
        ...


class Annotator(Protocol):
    """Finds something out about a sample that no pure function can: asks a judge, runs code in a sandbox."""

    name: str

    async def annotate(self, sample: Sample) -> Mapping[str, Any]:
        """Plain JSON, kept with the sample."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a stat means: for docs, for the board, and for the direction of 'worst' and 'wins'."""

    name: str
    title: str
    aspect: Aspect
    description: str
    source: str = ""
    higher_is_better: bool = True
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What metrics may be made with: a ``judge`` and its model's name, None where the user named none; the
    ``data_root``, where databases lie."""

    judge: Completer | None = None
    judge_model: str = ""
    data_root: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An entry of the registry: what a scenario's ``metrics`` name. ``make`` builds the metric, ``annotator`` what has
    to run before it."""

    name: str
    definitions: tuple[Definition, ...]
    make: Callable[[], Metric | SetMetric]
    annotator: Callable[[Tools], Annotator] | None = None
    needs: tuple[str, ...] = ()
