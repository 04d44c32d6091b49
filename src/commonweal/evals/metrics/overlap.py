"""How much the words of an answer overlap with a reference's: F1, ROUGE and BLEU, one answer at a time.

All are the maximum over the correct references, then the mean over the samples, as HELM has them. Corpus-level BLEU
(Papineni et al. 2002) pools the counts of all sentences instead, and sacrebleu's numbers are of that kind; the ones
here are NLTK's sentence BLEU without smoothing on Penn Treebank words, to match HELM's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from commonweal.evals.metrics.exact_match import normalize_text
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import ReferenceMetric, prediction, predictions
from commonweal.evals.metrics.word_tokens import words
from commonweal.evals.sample import Sample


def f1_score(gold: str, answer: str) -> float:
    """Harmonic mean of precision and recall over the *sets* of normalised words (HELM, from NLTK's ``f_measure``).
    SQuAD's own script (Rajpurkar et al. 2016) counts repeated words; without repetitions both agree.

    >>> f1_score("the cat sat", "a cat ran")
    0.5
    """
    wanted, given = set(normalize_text(gold).split()), set(normalize_text(answer).split())
    shared = len(wanted & given)
    if not shared:
        return 0.0
    return 1.0 / (0.5 / (shared / len(given)) + 0.5 / (shared / len(wanted)))


def sentence_bleu(gold: str, answer: str, n: int) -> float:
    """The modified precision of ``n``-grams of Penn Treebank words times the brevity penalty: NLTK's ``sentence_bleu``
    with all weight on ``n``. HELM's bleu_4 is this and not the usual geometric mean of 1- to 4-grams."""
    wanted, given = words(gold), words(answer)
    if not given:
        return 0.0
    counts = Counter(zip(*(given[i:] for i in range(n)), strict=False))
    known = Counter(zip(*(wanted[i:] for i in range(n)), strict=False))
    clipped = sum((counts & known).values())
    if not clipped:
        return 0.0
    brevity = 1.0 if len(given) > len(wanted) else math.exp(1 - len(wanted) / len(given))
    return brevity * clipped / sum(counts.values())


def bleu_1(gold: str, answer: str) -> float:
    return sentence_bleu(gold, answer, 1)


def bleu_4(gold: str, answer: str) -> float:
    return sentence_bleu(gold, answer, 4)


_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


class Rouge:
    """ROUGE F-measures of the ``rouge-score`` package with Porter's stemmer (Lin 2004). The package is imported with
    the first sample, as it takes seconds."""

    def __init__(self) -> None:
        self._scorer: Any = None

    def score(self, sample: Sample) -> dict[str, float]:
        golds = sample.instance.correct
        if not golds:
            return {}
        made = self._best(golds, (prediction(sample),))
        k = sample.adaptation.outputs
        if k > 1:
            several = self._best(golds, predictions(sample))
            made.update({f"{name}@{k}": value for name, value in several.items()})
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference"

    def _best(self, golds: tuple[str, ...], answers: tuple[str, ...]) -> dict[str, float]:
        if self._scorer is None:
            from rouge_score.rouge_scorer import RougeScorer

            self._scorer = RougeScorer(list(_ROUGE.values()), use_stemmer=True)
        made = dict.fromkeys(_ROUGE, 0.0)
        for gold in golds:
            for answer in answers:
                scores = self._scorer.score(gold, answer)
                for name, theirs in _ROUGE.items():
                    made[name] = max(made[name], float(scores[theirs].fmeasure))
        return made


F1 = Family(
    name="f1",
    make=lambda: ReferenceMetric({"f1_score": f1_score}),
    definitions=(
        Definition(
            name="f1_score",
            title="F1",
            aspect="accuracy",
            description="Harmonic mean of precision and recall of the answer's distinct words, normalised as for "
            "quasi-exact match.",
            source="Rajpurkar et al. 2016; HELM, evaluate_reference_metrics.py",
        ),
    ),
)

ROUGE = Family(
    name="rouge",
    make=Rouge,
    definitions=tuple(
        Definition(
            name=name,
            title=title,
            aspect="accuracy",
            description=f"F-measure of {what} shared with the reference, words stemmed.",
            source="Lin 2004; rouge-score 0.1.2",
        )
        for name, title, what in (
            ("rouge_1", "ROUGE-1", "words"),
            ("rouge_2", "ROUGE-2", "pairs of words"),
            ("rouge_l", "ROUGE-L", "the longest common subsequence of words"),
        )
    ),
)

BLEU = Family(
    name="bleu",
    make=lambda: ReferenceMetric({"bleu_1": bleu_1, "bleu_4": bleu_4}),
    definitions=tuple(
        Definition(
            name=f"bleu_{n}",
            title=f"BLEU-{n}",
            aspect="accuracy",
            description=f"Share of the answer's {n}-grams that the reference has, times the brevity penalty; of each "
            "sentence by itself, without smoothing.",
            source="Papineni et al. 2002; HELM, evaluate_reference_metrics.py",
        )
        for n in (1, 4)
    ),
)
