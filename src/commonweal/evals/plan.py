"""What an evaluation is going to do: wishes resolved into runs, each with its spec, or with the reason why it will not
be measured.

Pure but for the registries it looks names up in; asks no model and reads no data. A plan is saved (``eval.json``) with
the wishes, so that resuming resolves the same wishes again and sees what has changed since.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from commonweal.core.completion import Abilities
from commonweal.core.config import from_table
from commonweal.core.errors import ConfigError, UserError
from commonweal.evals.adaptation import Adaptation, Ask
from commonweal.evals.scenario import Args, Scenario
from commonweal.evals.spec import RunSpec

_ASKS: tuple[Ask, ...] = ("chat", "completion", "auto")

Resolve = Callable[[str], tuple[Scenario, Args]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for, as plain data. ``model`` is how it was written; ``shots``, ``trials`` None: the
    scenario's own; so is ``ask`` "". ``perturbations`` are names and groups, None: the default."""

    model: str
    suite: str = ""
    scenarios: tuple[str, ...] = ()
    max_instances: int = 0
    shots: int | None = None
    trials: int | None = None
    perturbations: tuple[str, ...] | None = None
    seed: int = 0
    judge: str = ""
    data_root: str = ""
    stream: bool = False
    ask: str = ""
    confidence: str = "auto"
    no_pictures: bool = False

    def given(self) -> list[str]:
        """The names of what was wished for otherwise than by default."""
        return [name for name, value in asdict(self).items() if value != getattr(_NOTHING, name)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> Wishes:
        """Read :meth:`to_json` back. Raises ConfigError."""
        given = {name: one for name, one in value.items() if one is not None}
        given.setdefault(
            "confidence", "logprobs"
        )  # evaluations begun before anything else could be asked for
        return from_table(given, cls, where=where)


_NOTHING = Wishes(model="")

DEFAULT = ("default",)
"""The perturbations of a suite for which none were named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run to be. ``named`` is how it was asked for (a run name, a TOML file); ``reason`` says why it cannot be
    measured, "" where it can; ``note`` what of the scenario's adaptation was changed for this model, and why."""

    spec: RunSpec
    scenario: Scenario
    named: str
    folder: str
    reason: str = ""
    note: str = ""


def plan(
    wishes: Wishes,
    *,
    model: str,
    resolve: Resolve,
    suite: Callable[[str], Sequence[str]],
    perturbations: Callable[[Sequence[str]], tuple[str, ...]],
    extra: Callable[[Adaptation], Sequence[str]],
    settle: Callable[[Adaptation], tuple[Adaptation, str]],
    has: Callable[[str], str],
    eliciting: Callable[[Adaptation, str], tuple[Adaptation, str]] = lambda adaptation, metric: (
        adaptation,
        "",
    ),
) -> list[Planned]:
    """The runs of ``wishes``.

    ``model`` is the model's own name; ``resolve`` gives scenario and arguments of a run name, ``suite`` the run names
    of a suite; ``perturbations`` resolves names and groups; ``extra`` gives metrics that are measured beside a
    scenario's own; ``settle`` changes an adaptation to one that the model can be asked by, and says why; ``has`` says
    of a need ("sandbox", "judge", ...) why it is not met, "" where it is; ``eliciting`` adds to an adaptation what is
    asked about the confidence of its answers, given the main metric, and says why. Raises UserError and ConfigError for
    names that are not known.
    """
    names = [*(suite(wishes.suite) if wishes.suite else ()), *wishes.scenarios]
    if not names:
        raise UserError("nothing to evaluate", hint="name a --suite or a --scenario")
    runs = []
    for name in dict.fromkeys(names):
        scenario, args = resolve(name)
        base = scenario.vary(scenario.adaptation, args) if scenario.vary else scenario.adaptation
        adaptation, note = settle(_wished(base, wishes))
        adaptation, asked = eliciting(adaptation, scenario.main_metric)
        metrics = _metrics(wishes, scenario, extra(adaptation))
        wanted = perturbations(wished_perturbations(wishes, scenario, args))
        spec = _spec(wishes, model, scenario, args, adaptation, metrics, wanted)
        reason = "; ".join(filter(None, map(has, scenario.needs)))
        folder = folder_name(spec.name)
        note = "; ".join(filter(None, (scenario.note, note, asked)))
        runs.append(
            Planned(spec=spec, scenario=scenario, named=name, folder=folder, reason=reason, note=note)
        )
    twice = {run.folder for run in runs if sum(other.folder == run.folder for other in runs) > 1}
    if twice:
        raise UserError(f"asked for twice: {', '.join(sorted(twice))}", hint="name each scenario once")
    return runs


def _metrics(wishes: Wishes, scenario: Scenario, extra: Sequence[str]) -> tuple[str, ...]:
    unwanted = {"calibration"} if wishes.confidence == "none" else set()
    return tuple(name for name in dict.fromkeys((*scenario.metrics, *extra)) if name not in unwanted)


def _spec(
    wishes: Wishes,
    model: str,
    scenario: Scenario,
    args: Args,
    adaptation: Adaptation,
    metrics: tuple[str, ...],
    perturbations: tuple[str, ...],
) -> RunSpec:
    return RunSpec(
        scenario=scenario.name,
        version=scenario.version,
        args=dict(args),
        model=model,
        adaptation=adaptation,
        metrics=metrics,
        main_metric=scenario.main_metric,
        perturbations=perturbations,
        max_instances=wishes.max_instances,
        seed=wishes.seed,
    )


def _wished(adaptation: Adaptation, wishes: Wishes) -> Adaptation:
    """The scenario's adaptation with the user's numbers."""
    try:
        return replace(
            adaptation,
            shots=adaptation.shots if wishes.shots is None else wishes.shots,
            trials=adaptation.trials if wishes.trials is None else wishes.trials,
            ask=_ask(wishes.ask) or adaptation.ask,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _ask(text: str) -> Ask | None:
    """How the user wants models to be asked, None where as the scenario says. Raises ConfigError."""
    if not text:
        return None
    for known in _ASKS:
        if text == known:
            return known
    raise ConfigError(f"--ask {text}: not known", hint=f"one of {', '.join(_ASKS)}")


def wished_perturbations(wishes: Wishes, scenario: Scenario, args: Args) -> tuple[str, ...]:
    """The names and groups that are wanted. ``default`` are those that the scenario is about, or else those of HELM's
    leaderboards. Where nothing is said, a suite has these, and a single scenario only its own: they multiply the cost.
    """
    wished = wishes.perturbations
    if wished is None:
        wished = DEFAULT if wishes.suite or scenario.perturbed else ()
    usual = scenario.perturbed(args) if scenario.perturbed else ("canonical",)
    made = [usual if name in DEFAULT else (name,) for name in wished if name != "none"]
    return tuple(chain.from_iterable(made))


def missing(need: str, *, abilities: Abilities, judge: bool, sandbox: str) -> str:
    """Why a need of a scenario is not met, "" where it is or may be. ``sandbox`` says why there is none."""
    unable = {
        "logprobs": (
            abilities.logprobs is False and abilities.score is False,
            "the model gives no log-probabilities",
        ),
        "images": (abilities.images is False, "the model takes no images"),
        "tools": (abilities.chat is False, "the model has no chat, in which alone tools can be used"),
        "judge": (not judge, "no judge (--judge MODEL)"),
        "sandbox": (bool(sandbox), sandbox),
    }
    lacks, reason = unable.get(need, (True, f"needs '{need}', which this version does not know"))
    return reason if lacks else ""


def folder_name(text: str) -> str:
    """
    >>> folder_name("mmlu:subject=anatomy"), folder_name("http://127.0.0.1:8080/v1#name")
    ('mmlu,subject=anatomy', '127.0.0.1,8080_v1,name')
    """
    text = re.sub(r"\A\w+://", "", text)
    return re.sub(r"[^\w=,.+-]+", "_", re.sub("[:#]", ",", text))[:120].strip("._") or "run"


def changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two specs, a line a field.

    >>> changes({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c: 2 -> 3']
    """
    found: list[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.extend(changes(old, new, f"{prefix}{name}."))
        elif old != new:
            found.append(f"{prefix}{name}: {_short(old)} -> {_short(new)}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
