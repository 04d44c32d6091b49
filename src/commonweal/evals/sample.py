"""What metrics see: one instance as it was asked, and what came of it. And what they give: stats.

A sample is (instance, perturbation, train trial). Its answers are the completions of all requests that the
adapter made of it: one for generation, one a reference (and one more for calibration) for separate multiple choice,
several windows for language modelling. A sample that failed has a :class:`Failure` instead, and counts in the
coverage, never in a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from commonweal.core.completion import Completion, FailureKind, Request
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance

BESIDE = "confidence"
"""The beginning of the role of a request that is no part of the answer."""

CONFIDENCE = "confidence"
"""The annotation of what was found by such requests: its ``source`` ("sampled": ``outputs`` are the answers that were
sampled; "verbalized": ``stated`` is the probability that the model stated, None where it stated none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request of a sample. ``role`` says what for: "output", "reference 2", "calibration 2", "window 3", "turn 1",
    "passage 4", "confidence 1". ``index`` is the reference that it is about, -1 for none. ``shots`` is how many
    examples fitted, ``truncated`` whether even without any the end of the prompt had to be cut off."""

    role: str
    request: Request
    index: int = -1
    shots: int = 0
    truncated: bool = False

    @property
    def beside(self) -> bool:
        """Whether it is asked about the answer, and is no part of it: where it fails, the answer still counts."""
        return self.role.startswith(BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A request with its completion."""

    ask: Ask
    completion: Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a sample has no answer. ``kind`` is a FailureKind or "error" for a defect of ours."""

    kind: FailureKind | str
    message: str
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An instance as it was asked. ``output`` is the answer as parsed by the adapter (the text after stripping, the
    chosen reference's text); ``chosen`` the index of the reference that the model chose, None where there is
    none; ``probabilities`` what the model gave to each reference (they sum to 1), () where unknown. ``annotations`` are
    what annotators found out (a judge's verdict, which unit tests passed), by annotator. ``beside`` are the completions
    of what was asked about the answer."""

    instance: Instance
    adaptation: Adaptation
    trial: int
    answers: tuple[Answer, ...]
    output: str = ""
    outputs: tuple[str, ...] = ()
    chosen: int | None = None
    probabilities: tuple[float, ...] = ()
    annotations: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Answer, ...] = ()
    failure: Failure | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.instance.id, self.instance.perturbation, self.trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A number about a set of samples. ``low`` and ``high`` bound its 95% bootstrap interval, clustered by instance;
    None where there is none. ``mean`` is None where it could not be measured, and then ``reason`` says why.

    ``perturbation`` is "" for the original instances, a perturbation's name for those, "worst" for the worst case
    over all of them, in the metric's own direction. ``subset`` is "" for all."""

    name: str
    mean: float | None
    n: int
    low: float | None = None
    high: float | None = None
    split: str = "test"
    perturbation: str = ""
    subset: str = ""
    reason: str = ""


Samples = Sequence[Sample]
