"""What an evaluation is made of, taken from the registries: plans by the names of scenarios, and the bench that they
are measured on.

Decides nothing about scenarios, adapters, metrics or perturbations; who is asked, where data come from and how long it
may take are told by whoever evaluates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from commonweal.core.completion import Abilities, Completer
from commonweal.core.sandbox import find_sandbox
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.adapters.confidence import check_wish, eliciting
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.resolve import resolve as settle
from commonweal.evals.adapters.shots import choose_examples
from commonweal.evals.adapters.tokens import TokenCounter
from commonweal.evals.budget import Limits, Prices, Spent
from commonweal.evals.energy.meter import ELSEWHERE, Energy
from commonweal.evals.measuring import Bench
from commonweal.evals.metrics.aggregate import Table
from commonweal.evals.metrics.efficiency import Efficiency, Price
from commonweal.evals.metrics.metric import Annotator, Tools
from commonweal.evals.metrics.registry import FAMILIES, families
from commonweal.evals.perturbations.perturbation import Kind
from commonweal.evals.perturbations.registry import PERTURBATIONS, apply_all, perturbation_names
from commonweal.evals.plan import Planned, Resolve, Wishes, missing, plan
from commonweal.evals.progress import Progress
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.spec import RunSpec


def planned(
    wishes: Wishes, model: str, abilities: Abilities, *, resolve: Resolve | None = None
) -> list[Planned]:
    """The runs of ``wishes``, for a model of these abilities. Asks nothing. ``resolve`` takes more than the names of
    scenarios, where more is allowed."""
    return plan(
        wishes,
        model=model,
        resolve=resolve or _resolve,
        suite=_suite,
        perturbations=perturbation_names,
        extra=_extra,
        settle=partial(settle, abilities=abilities),
        has=partial(_missing, abilities=abilities, judge=bool(wishes.judge)),
        eliciting=partial(_eliciting, abilities, check_wish(wishes.confidence)),
    )


def _eliciting(
    abilities: Abilities, wish: str, adaptation: Adaptation, main_metric: str
) -> tuple[Adaptation, str]:
    return eliciting(adaptation, abilities, wish, main_metric)


def _resolve(name: str) -> tuple[Scenario, Args]:
    from commonweal.evals.scenarios import registry  # all scenarios: a run from a file needs none of them

    return registry.resolve(name)


def _suite(name: str) -> tuple[str, ...]:
    from commonweal.evals.scenarios import registry

    return registry.suite(name)


def _missing(need: str, *, abilities: Abilities, judge: bool) -> str:
    return missing(need, abilities=abilities, judge=judge, sandbox=_no_sandbox() if need == "sandbox" else "")


@cache
def _no_sandbox() -> str:
    return "" if find_sandbox() else "no sandbox (install bubblewrap)"


def _extra(adaptation: Adaptation) -> tuple[str, ...]:
    """Families that every scenario is measured by, beside its own; harm is looked for where a model writes freely."""
    wanted = ["calibration", "efficiency"]
    if adaptation.method in ("generation", "tools", "tools_by_text"):
        wanted += ["toxicity", "bias"]
    return tuple(name for name in wanted if name in FAMILIES)


def bench(
    completer: Completer,
    loader: Loader,
    *,
    endpoint: str,
    tools: Tools,
    spent: Spent,
    began: float,
    judge: str = "",
    tokens: TokenCounter | None = None,
    limits: Limits | None = None,
    failure_rate: float = 0.1,
    concurrency: int = 0,
    command: Callable[[str, RunSpec], str] = lambda named, spec: "",
    prepare: Callable[[RunSpec], None] = lambda spec: None,
    energy: Energy = ELSEWHERE,
    pictures: bool = True,
) -> Bench:
    """What runs are measured with. ``endpoint`` is how the model was written, ``began`` of the monotonic clock; what is
    ``spent`` has the prices."""
    return Bench(
        completer=completer,
        endpoint=endpoint,
        judge=judge,
        loader=loader,
        adapter=partial(_adapter, completer, tokens, tools.data_root),
        table=partial(_table, spent.prices, energy),
        annotators=partial(_annotators, tools),
        examples=choose_examples,
        perturbed=apply_all,
        spent=spent,
        progress=Progress(spent=spent),
        clock=time.monotonic,
        wall=time.time,
        prices=spent.prices,
        limits=limits or Limits(),
        began=began,
        failure_rate=failure_rate,
        concurrency=concurrency,
        command=command,
        prepare=prepare,
        energy=energy,
        pictures=pictures,
    )


def _adapter(
    completer: Completer,
    tokens: TokenCounter | None,
    data_root: Path | None,
    adaptation: Adaptation,
    model: str,
) -> Adapter:
    return make_adapter(
        adaptation, model=model, abilities=completer.abilities, tokens=tokens, data_root=data_root
    )


def _table(prices: Prices | None, energy: Energy, spec: RunSpec) -> Table:
    price = Price(prompt=prices.prompt, completion=prices.completion) if prices else None
    return Table(
        families(spec.metrics),
        made={"efficiency": Efficiency(price, energy)},
        groups={kind: _of_kind(spec, kind) for kind in ("robustness", "fairness")},
        seed=spec.seed,
    )


def _of_kind(spec: RunSpec, kind: Kind) -> frozenset[str]:
    return frozenset(name for name in spec.perturbations if PERTURBATIONS[name].kind == kind)


def _annotators(tools: Tools, spec: RunSpec) -> Sequence[Annotator]:
    made = {family.annotator: family.annotator for family in families(spec.metrics) if family.annotator}
    return [make(tools) for make in made.values()]
