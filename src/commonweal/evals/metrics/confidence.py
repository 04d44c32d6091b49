"""How sure a model was of its answer, by what can be known: probabilities, agreement among samples, its own words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from commonweal.evals.metrics.exact_match import normalize_text
from commonweal.evals.metrics.language_modeling import logprob_of
from commonweal.evals.metrics.prediction import CHOICES, SEPARATE, prediction, predictions, tied_accuracy
from commonweal.evals.sample import CONFIDENCE, Sample

_STATED = re.compile(
    r"\bconfidence\b[^\d\n.%]{0,20}(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?", re.IGNORECASE
)


class Judged(NamedTuple):
    """A confidence in [0, 1] and whether the answer it is about was right (1 or 0)."""

    confidence: float
    correct: float


def by_probability(sample: Sample) -> Judged | None:
    """HELM's ``max_prob``: the highest probability over the references where each was scored, else that of the
    likeliest output (all its tokens). Correct is exact match; a tied half point counts as wrong, as in HELM."""
    golds = sample.instance.correct
    if not golds:
        return None
    if sample.adaptation.method in SEPARATE and sample.probabilities:
        score = tied_accuracy(sample)
        return None if score is None else Judged(max(sample.probabilities), float(int(score)))
    correct = float(prediction(sample) in {gold.strip() for gold in golds})
    choices = [choice for answer in sample.answers for choice in answer.completion.choices]
    logprobs = [found for choice in choices if (found := logprob_of(choice)) is not None]
    if logprobs and len(logprobs) == len(choices):
        return Judged(math.exp(min(0.0, max(logprobs))), correct)
    if sample.probabilities:
        return Judged(max(sample.probabilities), correct)
    return None


def by_agreement(sample: Sample) -> Judged | None:
    """Where more samples were asked for beside the answer, the share of them that gives the same answer (Tian et al.
    2023, arXiv 2305.14975), and whether it is right. Else, of n > 1 outputs, the share that gives the commonest answer
    (Wang et al. 2023, self-consistency), and whether that answer is right. Answers are alike where they are after
    normalisation; the first of equally common ones counts.
    """
    golds = sample.instance.correct
    found = sample.annotations.get(CONFIDENCE, {})
    if golds and found.get("source") == "sampled":
        return _agreeing(sample, found["outputs"])
    if not golds or len(sample.outputs) < 2:
        return None
    votes = Counter(normalize_text(text) for text in predictions(sample)[1:])
    answer, count = votes.most_common(1)[0]
    return Judged(count / len(sample.outputs), _is_right(answer, sample))


def _agreeing(sample: Sample, outputs: Sequence[str]) -> Judged | None:
    """None below two samples; one that chose no option agrees with an answer that chose none."""
    if len(outputs) < 2:
        return None
    answer = normalize_text(prediction(sample))
    texts = [text.strip() for text in outputs]
    if sample.adaptation.method in CHOICES:
        options = {reference.text.strip() for reference in sample.instance.references}
        texts = [text if text in options else "" for text in texts]
    same = sum(normalize_text(text) == answer for text in texts)
    return Judged(same / len(texts), _is_right(answer, sample))


def _is_right(answer: str, sample: Sample) -> float:
    """Whether a normalised answer is, after normalisation, a correct reference."""
    return float(bool(answer) and answer in {normalize_text(gold) for gold in sample.instance.correct})


def by_words(sample: Sample) -> Judged | None:
    """The probability that the model stated when it was asked for one, and whether its answer is right. Else the
    confidence that its output states by itself ("Confidence: 80%", "confidence 0.8"), the last one; quasi-exact match
    of what comes before it. None where it states none, or no number from 0 to 1 or 0% to 100%."""
    golds = sample.instance.correct
    if not golds or not sample.answers:
        return None
    elicited = sample.annotations.get(CONFIDENCE, {})
    if elicited.get("source") == "verbalized":
        known: float | None = elicited["stated"]
        answer = normalize_text(prediction(sample))
        return None if known is None else Judged(known, _is_right(answer, sample))
    text = sample.answers[-1].completion.choices[0].text
    found = list(_STATED.finditer(text))
    if not found:
        return None
    number = float(found[-1]["number"])
    share = number / 100 if found[-1]["percent"] or number > 1 else number
    if not 0 <= share <= 1:
        return None
    answer = (
        prediction(sample)
        if sample.adaptation.method in CHOICES
        else _STATED.split(sample.output, maxsplit=1)[0]
    )
    return Judged(share, _is_right(normalize_text(answer), sample))
