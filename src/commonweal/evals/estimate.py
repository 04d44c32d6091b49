"""What an evaluation would ask, before it asks anything: requests, tokens, money and time of each scenario.

Builds the real prompts of some instances and multiplies. Asks no model: the number of tokens is counted where the model
counts them offline, and is a quarter of the bytes elsewhere. What will be written is not known before: it is counted at
the most that is allowed, so cost and time are upper bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Request
from commonweal.core.errors import CommonwealError
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.budget import Prices
from commonweal.evals.instance import Instance
from commonweal.evals.material import Material, gather
from commonweal.evals.measuring import Bench
from commonweal.evals.plan import Planned
from commonweal.evals.sample import Answer, Ask
from commonweal.evals.spec import RunSpec

LOOKED_AT = 50
"""Instances whose prompts are built: the mean of so many is within a few per cent of that of all."""

BYTES_A_TOKEN = 4.0
TOKENS_A_SECOND = 50.0
SECONDS_A_REQUEST = 0.3
"""What a request is taken to last: this, and one second for TOKENS_A_SECOND written tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of one run. ``dollars`` None: prices are not known. ``reason``: why it would not be measured."""

    name: str
    samples: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = None
    seconds: float = 0.0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(planned: Planned, bench: Bench, count: Callable[[str], int] | None = None) -> Estimate:
    """``count`` gives the tokens of a text."""
    name = planned.spec.name
    if planned.reason:
        return Estimate(name=name, reason=planned.reason)
    try:
        return _estimate(planned, bench, count or _guess)
    except CommonwealError as error:
        return Estimate(name=name, reason=error.message)


@dataclass(slots=True)
class _Sums:
    samples: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, request: Request, count: Callable[[str], int]) -> None:
        self.requests += 1
        text = request.prompt or "".join(message.content for message in request.messages or ())
        self.prompt_tokens += count(text + request.continuation)
        if request.kind == "generate":
            self.completion_tokens += request.max_tokens * request.n


def _estimate(planned: Planned, bench: Bench, count: Callable[[str], int]) -> Estimate:
    spec = planned.spec
    read = partial(planned.scenario.read, bench.loader, spec.args)
    with closing(gather(read, max_instances=spec.max_instances, seed=spec.seed)) as material:
        return _of_material(material, spec, bench, count)


def _of_material(material: Material, spec: RunSpec, bench: Bench, count: Callable[[str], int]) -> Estimate:
    adapter = bench.adapter(spec.adaptation, spec.model)
    examples = bench.examples(material.train, spec.adaptation, 0, spec.seed)
    sums, looked = _Sums(), 0
    for instance in _spread(material.instances(), material.size):
        looked += 1
        for form in (instance, *bench.perturbed(instance, spec.perturbations, spec.seed)):
            sums.samples += 1
            _count(form, examples, adapter, sums, count)
    scale = material.size * spec.adaptation.trials / looked
    return _scaled(spec.name, sums, scale, bench.prices, bench.completer.abilities, bench.concurrency)


def _count(
    form: Instance,
    examples: Sequence[Instance],
    adapter: Adapter,
    sums: _Sums,
    count: Callable[[str], int],
) -> None:
    """What one sample is asked, the questions about its answer among them; an answer is taken to be as long as it may
    be. What a conversation asks further is not known before."""
    try:
        asks = adapter.asks(form, examples, ())
        for ask in asks:
            sums.add(ask.request, count)
        for ask in adapter.asks(form, examples, [_answered(ask) for ask in asks]):
            if ask.beside:
                sums.add(ask.request, count)
    except CompletionFailed:
        return


def _answered(ask: Ask) -> Answer:
    text = "any " * (ask.request.max_tokens if ask.request.kind == "generate" else 0)
    return Answer(ask=ask, completion=Completion(choices=(Choice(text=text),)))


def _spread(instances: Iterator[Instance], size: int) -> Iterator[Instance]:
    """Up to LOOKED_AT of them, evenly."""
    step = max(1, size // LOOKED_AT)
    for place, instance in enumerate(instances):
        if place % step == 0:
            yield instance


def _scaled(
    name: str, sums: _Sums, scale: float, prices: Prices | None, abilities: Abilities, concurrency: int
) -> Estimate:
    prompt, written = round(sums.prompt_tokens * scale), round(sums.completion_tokens * scale)
    requests = round(sums.requests * scale)
    work = requests * SECONDS_A_REQUEST + written / TOKENS_A_SECOND
    return Estimate(
        name=name,
        samples=round(sums.samples * scale),
        requests=requests,
        prompt_tokens=prompt,
        completion_tokens=written,
        dollars=prices.cost(prompt, written) if prices else None,
        seconds=work / max(1, min(concurrency or abilities.concurrency, requests)),
    )


def _guess(text: str) -> int:
    return round(len(text.encode("utf-8", "surrogatepass")) / BYTES_A_TOKEN)
