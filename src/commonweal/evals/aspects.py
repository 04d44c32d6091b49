"""The seven aspects of a run: for each, the one stat that stands for it in a table, or the reason why none does.

Knows stats and definitions; reads no folder and shows nothing. Which stat stands for an aspect:

    accuracy      the scenario's main metric, on the unperturbed instances
    calibration   the expected calibration error (10 bins of equal mass); its name ends in the source of confidence
                  (_sampled, _verbalized) where that is not the model's probability
    robustness    the main metric in the worst case over the perturbations that keep the meaning
    fairness      the main metric in the worst case over dialect, gender and names
    bias          the first of the scenario's bias stats that could be measured
    toxicity      the share of toxic answers
    efficiency    seconds a request, without the wait before it was sent

These are HELM's (Liang et al. 2022, section 4); all other stats are in ``stats.parquet``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from commonweal.evals.metrics.metric import Definition
from commonweal.evals.sample import Stat
from commonweal.evals.spec import RunSpec

Aspect = Literal["accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)

FIRST: Mapping[Aspect, str] = {
    "calibration": "ece_10_bin",
    "toxicity": "toxic_frac",
    "efficiency": "inference_runtime",
}
"""Which stat stands for an aspect. Where it was not measured, the others of that aspect follow in the order of their
definitions, but not for efficiency, whose stats have different units."""

_BY_CLASSIFIER = ("multiple_choice", "language_modeling", "ranking")


@dataclass(frozen=True, slots=True, kw_only=True)
class AspectCell:
    """A number with its 95% interval and how many samples have it; ``mean`` None: ``reason`` says why."""

    stat: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


def cells(spec: RunSpec, stats: Sequence[Stat], define: Mapping[str, Definition]) -> dict[Aspect, AspectCell]:
    """One cell an aspect. ``stats`` are those of the run, ``define`` all definitions by name."""
    whole = _main_split(stats)
    made: dict[Aspect, AspectCell] = {}
    for aspect in ASPECTS:
        if aspect in ("accuracy", "robustness", "fairness"):
            made[aspect] = _by_main_metric(aspect, spec, whole, define)
        else:
            made[aspect] = _preferred(aspect, spec, whole, define)
    return made


def unmeasured(reason: str) -> dict[Aspect, AspectCell]:
    """The cells of a run that has no stats."""
    return {aspect: AspectCell(stat="", reason=reason) for aspect in ASPECTS}


def _main_split(stats: Sequence[Stat]) -> list[Stat]:
    """Stats of all subsets together, on the test split where there is one."""
    splits = [stat.split for stat in stats]
    split = "test" if "test" in splits or not splits else splits[0]
    return [stat for stat in stats if stat.split == split and not stat.subset]


def _by_main_metric(
    aspect: Aspect, spec: RunSpec, stats: Sequence[Stat], define: Mapping[str, Definition]
) -> AspectCell:
    name = spec.main_metric
    definition = define.get(name) or define.get(name.partition("@")[0])
    if definition and definition.aspect not in ("accuracy", "general"):
        return AspectCell(stat="", reason=f"its main metric, {name}, is about {definition.aspect}")
    if aspect == "accuracy":
        return _cell(name, [stat for stat in stats if not stat.perturbation])
    found = _cell(name, [stat for stat in stats if stat.perturbation == aspect])
    if found.mean is not None:
        return found
    if not spec.perturbations:
        return AspectCell(stat="", reason="no perturbations were asked for (--perturbations)")
    return AspectCell(stat="", reason=f"no {aspect} perturbation changed any of its instances")


def _preferred(
    aspect: Aspect, spec: RunSpec, stats: Sequence[Stat], define: Mapping[str, Definition]
) -> AspectCell:
    originals = [stat for stat in stats if not stat.perturbation]
    names = [FIRST[aspect]] if aspect in FIRST else []
    if aspect == "calibration" and spec.adaptation.confidence:
        names.insert(0, f"{FIRST[aspect]}_{spec.adaptation.confidence}")
    if aspect != "efficiency":
        names += [name for name, told in define.items() if told.aspect == aspect]
    tried = [cell for name in dict.fromkeys(names) if (cell := _cell(name, originals)).stat]
    if tried:
        return next((cell for cell in tried if cell.mean is not None), tried[0])
    if aspect in ("bias", "toxicity") and spec.adaptation.method.startswith(_BY_CLASSIFIER):
        return AspectCell(stat="", reason="the model writes no text of its own here")
    return AspectCell(stat="", reason=f"its metrics do not measure {aspect}")


def _cell(name: str, stats: Sequence[Stat]) -> AspectCell:
    for stat in stats:
        if stat.name == name:
            return AspectCell(
                stat=name, mean=stat.mean, low=stat.low, high=stat.high, n=stat.n, reason=stat.reason
            )
    return AspectCell(stat="", reason=f"{name} was not measured")
