"""The smallest things that a run can be made of: a scenario of sums, an adapter that asks once, a mock that adds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from commonweal.core.completion import Completion, Request
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.budget import Limits, Prices, Spent
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.measuring import Bench, Measured, measure
from commonweal.evals.metrics.aggregate import Table
from commonweal.evals.metrics.registry import families
from commonweal.evals.plan import Planned
from commonweal.evals.progress import Progress
from commonweal.evals.sample import Answer, Ask, Sample
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.spec import RunSpec

ADAPTATION = Adaptation(shots=0, max_tokens=5)


class NoData:
    """A loader for scenarios that need none."""

    seed = 0

    def rows(self, *origins: Any) -> Any:
        raise AssertionError("no data is asked for")

    def path(self, local: Any) -> Any:
        raise AssertionError("no data is asked for")


class AskOnce:
    """The prompt is the input; the output is the completion's text, stripped."""

    def __init__(self, adaptation: Adaptation, model: str) -> None:
        self._adaptation, self._model = adaptation, model

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> Sequence[Ask]:
        if answers:
            return ()
        request = Request(model=self._model, prompt=instance.input, max_tokens=self._adaptation.max_tokens)
        return (Ask(role="output", request=request, shots=len(examples)),)

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        text = answers[0].completion.text.strip()
        return Sample(
            instance=instance,
            adaptation=self._adaptation,
            trial=trial,
            answers=tuple(answers),
            output=text,
            outputs=(text,),
        )


def sums(count: int, *, wrong: int = -1, padding: int = 0) -> Callable[[Loader, Args], Iterable[Instance]]:
    """``count`` sums with their results; instance ``wrong`` has another input than in other versions, and each has
    ``padding`` characters that say nothing."""

    def read(loader: Loader, args: Args) -> Iterable[Instance]:
        for i in range(count):
            yield Instance(
                id=f"id{i}",
                input=f"{i} + {i} = " + ("(changed)" if i == wrong else "") + " " * padding,
                references=(Reference(text=str(2 * i), correct=True),),
            )

    return read


def scenario(read: Callable[[Loader, Args], Iterable[Instance]], **other: Any) -> Scenario:
    told: dict[str, Any] = {
        "name": "sums",
        "title": "Sums",
        "description": "adds a number to itself",
        "source": "made for this test",
        "licence": "CC0",
        "read": read,
        "adaptation": ADAPTATION,
        "main_metric": "exact_match",
        "metrics": ("exact_match",),
    }
    return Scenario(**{**told, **other})


def planned(made: Scenario, **other: Any) -> Planned:
    spec = RunSpec(
        scenario=made.name,
        version=made.version,
        model="mock",
        adaptation=made.adaptation,
        metrics=made.metrics,
        main_metric=made.main_metric,
    )
    return Planned(spec=replace(spec, **other), scenario=made, named=made.name, folder=made.name)


def adds(request: Request) -> str:
    """The right answer to every sum."""
    return " " + str(2 * int((request.prompt or "0").split()[0]))


class Counting(MockCompleter):
    """A mock that remembers what it was asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prompts: list[str] = []

    async def complete(self, request: Request) -> Completion:
        self.prompts.append(request.prompt or "")
        await asyncio.sleep(0)
        return await super().complete(request)


def bench(completer: Any = None, **other: Any) -> Bench:
    spent = Spent(prices=other.get("prices"))
    told: dict[str, Any] = {
        "completer": completer or MockCompleter(adds),
        "endpoint": "mock",
        "loader": NoData(),
        "adapter": AskOnce,
        "table": lambda spec: Table(families(spec.metrics), seed=spec.seed),
        "annotators": lambda spec: (),
        "examples": lambda train, adaptation, trial, seed: (),
        "perturbed": lambda instance, names, seed: (),
        "spent": spent,
        "progress": Progress(spent=spent),
        "clock": time.monotonic,
        "wall": lambda: 1_790_000_000.0,
        "began": time.monotonic(),
    }
    return Bench(**{**told, **other})


def run(made: Planned, folder: Path, on: Bench) -> Measured:
    return asyncio.run(measure(made, folder, on))


__all__ = ["Limits", "Mapping", "Prices", "bench", "planned", "run", "scenario", "sums"]
