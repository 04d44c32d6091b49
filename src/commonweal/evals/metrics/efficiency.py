"""What an answer cost: time, tokens, money, energy. Added to every run.

Times leave out the wait before the request was sent (``Timing.queued``), as the server's and ours is not the model's.
Those are means over a sample's requests (multiple choice asks once an option), as HELM's are; money and energy are
sums over them. A cached completion keeps the times of the request that was really sent. A number that the server did
not tell is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commonweal.evals.energy.meter import ELSEWHERE, Energy
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of a million tokens, in one currency. Prompt and completion tokens are priced apart."""

    prompt: float
    completion: float
    currency: str = "USD"


class Efficiency:
    """Numbers of every sample with answers. ``price`` None: no cost. ``energy`` is how that is measured, if it is."""

    def __init__(self, price: Price | None = None, energy: Energy = ELSEWHERE) -> None:
        self._price, self._energy = price, energy

    def score(self, sample: Sample) -> dict[str, float]:
        answers = sample.answers
        made: dict[str, float] = {}
        if not answers:
            return made
        runtime = first = written = prompts = completions = joules = 0.0
        timed = streamed = told_prompt = told_completion = metered = cut = size = shots = 0
        for answer in answers:
            completion = answer.completion
            timing = completion.timing
            if timing.total > 0:
                timed += 1
                runtime += timing.total
                written += completion.completion_tokens or 0
            if timing.first_token is not None:
                streamed += 1
                first += timing.first_token
            if completion.prompt_tokens is not None:
                told_prompt += 1
                prompts += completion.prompt_tokens
            if completion.completion_tokens is not None:
                told_completion += 1
                completions += completion.completion_tokens
            if completion.joules is not None:
                metered += 1
                joules += completion.joules
            for choice in completion.choices:
                cut += choice.finish == "length"
                size += len(choice.text) if choice.text.isascii() else _bytes(choice.text)
            shots += answer.ask.shots
        n = len(answers)
        made["num_bytes"] = size / n
        made["finish_reason_length"] = float(cut > 0)
        made["num_train_instances"] = shots / n
        if timed:
            made["inference_runtime"] = runtime / timed
            if written and told_completion:
                made["tokens_per_second"] = written / runtime
        if streamed:
            made["time_to_first_token"] = first / streamed
        if told_prompt:
            made["num_prompt_tokens"] = prompts / told_prompt
        if told_completion:
            made["num_completion_tokens"] = completions / told_completion
        if metered == n:
            made["energy"] = joules
        if self._price is not None and told_prompt == told_completion == n:
            made["cost"] = (prompts * self._price.prompt + completions * self._price.completion) / 1e6
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        if name == "cost":
            return "no price given" if self._price is None else "the server did not count tokens"
        if name == "energy":
            return self._energy.reason or "the energy meter failed, or answers are of an earlier run"
        return _REASONS.get(name, "not told by the server")


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


_REASONS = {
    "time_to_first_token": "answers were not streamed (--stream)",
    "num_prompt_tokens": "the server did not count tokens",
    "num_completion_tokens": "the server did not count tokens",
    "tokens_per_second": "the server did not count tokens",
    "inference_runtime": "no times were taken",
}


def _definition(name: str, title: str, description: str, unit: str, aspect: str = "efficiency") -> Definition:
    return Definition(
        name=name,
        title=title,
        aspect="efficiency" if aspect == "efficiency" else "general",
        description=description,
        source="Liang et al. 2022, section 4.9" if aspect == "efficiency" else "HELM, basic_metrics.py",
        higher_is_better=name == "tokens_per_second",
        unit=unit,
    )


EFFICIENCY = Family(
    name="efficiency",
    make=Efficiency,
    definitions=(
        _definition(
            "inference_runtime",
            "Inference time",
            "Time from sending a request to its last token, without the wait before it was sent, mean over requests.",
            "s",
        ),
        _definition(
            "time_to_first_token",
            "Time to first token",
            "Time from sending a request to the first streamed token, mean over requests.",
            "s",
        ),
        _definition(
            "tokens_per_second",
            "Tokens a second",
            "Completion tokens over the inference time of all requests of a sample, reading the prompt included.",
            "1/s",
        ),
        _definition("cost", "Cost", "Price of all tokens of a sample's requests.", "price's currency"),
        _definition(
            "energy",
            "Energy",
            "Energy that the machine took for a sample's requests, idle power included: RAPL or NVML, of a local"
            " model.",
            "J",
        ),
        _definition("num_prompt_tokens", "Prompt tokens", "Tokens of a prompt.", "tokens", "general"),
        _definition(
            "num_completion_tokens", "Completion tokens", "Tokens of a completion.", "tokens", "general"
        ),
        _definition(
            "num_bytes", "Output bytes", "UTF-8 bytes of the outputs of a request.", "bytes", "general"
        ),
        _definition(
            "finish_reason_length",
            "Cut off",
            "Share of samples with an output cut off at the token limit.",
            "",
            "general",
        ),
        _definition(
            "num_train_instances",
            "Examples",
            "In-context examples that fitted into the prompt.",
            "",
            "general",
        ),
    ),
)
