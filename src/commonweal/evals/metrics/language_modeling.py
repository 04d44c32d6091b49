"""How well a model predicts a text, or thought of what it wrote: log-probability per token and per byte.

Of a language-modelling sample, all windows count, each continuation once, and bytes are those of the text itself.
Of a generated one, the first output's tokens. Bits per byte and perplexity are ratios of sums over all samples, not
means of ratios (HELM, ``compute_perplexity_metrics``); bits per byte does not depend on the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from commonweal.core.completion import Choice
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Answer, Sample


def logprob_of(choice: Choice) -> float | None:
    """The sum of the tokens' log-probabilities in nats; None where any is missing."""
    if choice.logprob is not None:
        return choice.logprob
    known = [token.logprob for token in choice.tokens if token.logprob is not None]
    return math.fsum(known) if known and len(known) == len(choice.tokens) else None


class LanguageModeling:
    """Features of a sample are sums already: its log-probability in nats, its tokens and its UTF-8 bytes."""

    additive = True

    def features(self, sample: Sample) -> dict[str, float]:
        windows = sample.answers
        if sample.adaptation.method != "language_modeling":
            windows = windows[:1]
        parts = [_part(answer) for answer in windows]
        if not parts or any(part is None for part in parts):
            return {}
        logprobs, tokens, sizes = zip(*(part for part in parts if part), strict=True)
        return {"logprob": math.fsum(logprobs), "tokens": sum(tokens), "bytes": sum(sizes), "samples": 1.0}

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        if "logprob" not in columns:
            return {}
        names = ("logprob", "tokens", "bytes", "samples")
        logprob, tokens, size, samples = (float(np.nansum(columns[name])) for name in names)
        if not logprob < 0:  # some servers report zeros for 'not known'
            return {}
        made = {"logprob": logprob / samples}
        if tokens:
            made["perplexity"] = math.exp(min(700.0, -logprob / tokens))
        if size:
            made["bits_per_byte"] = -logprob / size / math.log(2)
            made["logprob_per_byte"] = logprob / size
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no log-probabilities"


def _part(answer: Answer) -> tuple[float, int, int] | None:
    choice = answer.completion.choices[0]
    logprob = logprob_of(choice)
    if logprob is None:
        return None
    request = answer.ask.request
    text = request.continuation if request.kind == "score" else choice.text
    tokens = len(choice.tokens) or answer.completion.completion_tokens or 0
    return logprob, tokens, len(text.encode("utf-8", "surrogatepass"))


_SOURCE = (
    "Liang et al. 2022, section 4.1; Gao et al. 2020 (arXiv 2101.00027), section 3.1; HELM, basic_metrics.py"
)

BITS_PER_BYTE = Family(
    name="bits_per_byte",
    make=LanguageModeling,
    needs=("logprobs",),
    definitions=(
        Definition(
            name="bits_per_byte",
            title="Bits per byte",
            aspect="accuracy",
            description="Minus the sum of log2 probabilities over the number of UTF-8 bytes, of all samples together.",
            source=_SOURCE,
            higher_is_better=False,
            unit="bits",
        ),
        Definition(
            name="logprob",
            title="Log-probability",
            aspect="general",
            description="Sum of the tokens' log-probabilities, mean over samples.",
            source=_SOURCE,
            unit="nats",
        ),
        Definition(
            name="logprob_per_byte",
            title="Log-probability per byte",
            aspect="general",
            description="Sum of the log-probabilities over the number of bytes, of all samples together.",
            source=_SOURCE,
            unit="nats",
        ),
        Definition(
            name="perplexity",
            title="Perplexity",
            aspect="general",
            description="Effective number of choices at each token; comparable between models with one tokenizer only.",
            source=_SOURCE,
            higher_is_better=False,
        ),
    ),
)
