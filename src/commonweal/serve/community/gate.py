"""Whether a candidate replaces the current model: a pure decision with its reasons.

Given is, for every scenario, what both got and the paired difference (candidate minus current) with its interval. The
candidate is promoted if

- on the held-out feedback it is better: of at least one measure the interval of the difference lies above 0, and of
  none below 0;
- on no guard scenario it is worse beyond noise: no interval lies wholly below minus the tolerance;
- and nothing is missing: every guard was measured, every held-out measure has enough instances.

What cannot be told is no promotion. Not shown to be worse is not shown to be as good: a guard with few instances lets
much pass, so ``fewest_guarded`` demands some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["promote", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a model got: the mean over ``n`` instances, and the interval around it (95%)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Candidate minus current over the ``n`` instances that both answered, with the interval of the mean (95%)."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One measure of both models. ``change`` is None where nothing could be paired."""

    name: str
    metric: str
    current: Measured | None
    candidate: Measured | None
    change: Change | None
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """``guards`` names the scenarios that must be there. ``tolerance``: a guard may lose this much (in the unit of its
    metric) before its loss counts. ``fewest_held_out`` and ``fewest_guarded``: instances below which a measure tells
    nothing."""

    guards: Sequence[str] = ()
    tolerance: float = 0.0
    fewest_held_out: int = 10
    fewest_guarded: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one scenario says. ``held_out`` tells feedback from guards."""

    name: str
    metric: str
    held_out: bool
    outcome: Literal["better", "worse", "same", "unknown"]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``reason`` is one sentence, ``findings`` are what it rests on."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]


def decide(held_out: Sequence[Scenario], guards: Sequence[Scenario], rules: GateRules) -> Decision:
    """Promote or refuse."""
    by_name = {scenario.name: scenario for scenario in guards}
    missing = [name for name in rules.guards if name not in by_name]
    heard = [_finding(s, held_out=True, fewest=rules.fewest_held_out, tolerance=0.0) for s in held_out]
    guarded = [
        _finding(s, held_out=False, fewest=rules.fewest_guarded, tolerance=rules.tolerance) for s in guards
    ]
    against = _against(heard, guarded, missing)
    better = [finding for finding in heard if finding.outcome == "better"]
    if against:
        reason = "refused: " + "; ".join(against)
    else:
        reason = f"promoted: {better[0].words}; " + (
            f"no worse beyond noise on {_listed([g.name for g in guarded])}"
            if guarded
            else "no guard was asked"
        )
    return Decision(verdict="refuse" if against else "promote", reason=reason, findings=(*heard, *guarded))


def _against(heard: Sequence[Finding], guarded: Sequence[Finding], missing: Sequence[str]) -> list[str]:
    """What speaks against a promotion, the weightiest first."""
    found = [f.words for f in guarded if f.outcome == "worse"]
    found += [f.words for f in heard if f.outcome == "worse"]
    if missing:
        found.append(f"{_listed(missing)} was not measured")
    found += [f.words for f in guarded if f.outcome == "unknown"]
    if not any(f.outcome == "better" for f in heard):
        unknown = [f.words for f in heard if f.outcome != "worse"]
        found.append("; ".join(unknown) or "there is no held-out feedback to measure it by")
    return found


def _finding(scenario: Scenario, *, held_out: bool, fewest: int, tolerance: float) -> Finding:
    def made(outcome: Literal["better", "worse", "same", "unknown"], words: str) -> Finding:
        return Finding(
            name=scenario.name, metric=scenario.metric, held_out=held_out, outcome=outcome, words=words
        )

    change = scenario.change
    if change is None or not math.isfinite(change.mean):
        return made("unknown", f"{scenario.name}: nothing could be compared")
    if change.n < fewest:
        return made("unknown", f"{scenario.name}: {change.n} instances, and {fewest} are needed")
    sign = 1.0 if scenario.higher_is_better else -1.0
    low, high = sorted((sign * change.low, sign * change.high))
    told = f"{scenario.name}: {scenario.metric} {_pair(scenario)}{change.mean:+.4g} " + (
        f"({change.low:+.4g} to {change.high:+.4g}, n={change.n})"
    )
    if low > 0:
        return made("better", told)
    if high < -tolerance:
        return made("worse", f"worse beyond noise on {told}")
    return made("same", f"no difference that noise cannot explain on {told}")


def _pair(scenario: Scenario) -> str:
    if scenario.current is None or scenario.candidate is None:
        return ""
    return f"{scenario.current.value:.4g} -> {scenario.candidate.value:.4g}, "


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def paired(
    name: str,
    metric: str,
    current: Mapping[str, float],
    candidate: Mapping[str, float],
    *,
    higher_is_better: bool = True,
    z: float = 1.96,
) -> Scenario:
    """A scenario from both models' scores by instance, by the normal approximation of the paired mean. For measures
    that no evaluation made; :func:`decide` takes bootstrap intervals as gladly."""
    shared = sorted(current.keys() & candidate.keys())
    gaps = [candidate[key] - current[key] for key in shared]
    found = _mean(gaps, z)
    return Scenario(
        name=name,
        metric=metric,
        current=_mean([current[key] for key in shared], z),
        candidate=_mean([candidate[key] for key in shared], z),
        change=None if found is None else Change(mean=found.value, low=found.low, high=found.high, n=found.n),
        higher_is_better=higher_is_better,
    )


def _mean(values: Sequence[float], z: float) -> Measured | None:
    if not values:
        return None
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Measured(value=mean, low=-math.inf, high=math.inf, n=n)
    half = z * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return Measured(value=mean, low=mean - half, high=mean + half, n=n)
