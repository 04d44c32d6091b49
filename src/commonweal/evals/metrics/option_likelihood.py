"""Which of several options is the likeliest, as lm-evaluation-harness chooses: by the sum of the log-probabilities of
an option's tokens, or by that sum over the option's length.

HELM's choice (:mod:`commonweal.evals.adapters.separate`) is by the mean over tokens, which depends on the tokenizer.
Here the options' own text counts, without the space before it; of equals the first is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from commonweal.evals.metrics.language_modeling import logprob_of
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import SEPARATE
from commonweal.evals.sample import Sample

_NAMES = ("likeliest_option", "likeliest_option_per_character", "likeliest_option_per_byte")


class OptionLikelihood:
    """1 where the option that is chosen so is correct. Of a model that was not asked option by option, the option that
    it named counts."""

    def score(self, sample: Sample) -> dict[str, float]:
        references = sample.instance.references
        if not any(reference.correct for reference in references):
            return {}
        if sample.adaptation.method not in SEPARATE:
            chosen = sample.chosen
            right = chosen is not None and 0 <= chosen < len(references) and references[chosen].correct
            return dict.fromkeys(_NAMES, float(right))
        logprobs = [logprob_of(answer.completion.choices[0]) for answer in sample.answers[: len(references)]]
        known = [logprob for logprob in logprobs if logprob is not None]
        if len(known) < len(references):
            return {}
        texts = [reference.text for reference in references]
        sizes = ([1] * len(texts), list(map(len, texts)), [len(text.encode()) for text in texts])
        return {
            name: float(references[_likeliest(known, size)].correct)
            for name, size in zip(_NAMES, sizes, strict=True)
        }

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference, or no log-probabilities"


def _likeliest(logprobs: Sequence[float], sizes: Sequence[int]) -> int:
    return max(range(len(logprobs)), key=lambda i: (logprobs[i] / max(1, sizes[i]), -i))


_SOURCE = "lm-evaluation-harness 0.4.13, api/task.py (acc, acc_norm, acc_bytes)"

OPTION_LIKELIHOOD = Family(
    name="option_likelihood",
    make=OptionLikelihood,
    definitions=(
        Definition(
            name=_NAMES[0],
            title="Accuracy of the likeliest option",
            aspect="accuracy",
            description="Share of instances whose option of the highest log-probability, summed over its tokens, is "
            "correct.",
            source=_SOURCE,
        ),
        Definition(
            name=_NAMES[1],
            title="Accuracy of the likeliest option, by characters",
            aspect="accuracy",
            description="The same with each log-probability over the number of the option's characters.",
            source=_SOURCE,
        ),
        Definition(
            name=_NAMES[2],
            title="Accuracy of the likeliest option, by bytes",
            aspect="accuracy",
            description="The same with each log-probability over the number of the option's UTF-8 bytes.",
            source=_SOURCE,
        ),
    ),
)
