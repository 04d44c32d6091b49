"""What lm-evaluation-harness' metrics are called here, and in what they differ.

Its ``metric_list`` and ``filter_list`` become families of :mod:`commonweal.evals.metrics.registry` and a main metric;
what is measured otherwise is told in words, what cannot be measured at all is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.core.errors import ConfigError

HARMLESS = frozenset({"take_first", "take_first_k", "remove_whitespace"})
"""Filters that change nothing here: one answer is asked for, and white space around it never counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Families, the stat that ranks, and the differences, each a short sentence."""

    families: tuple[str, ...]
    main: str
    notes: tuple[str, ...] = ()


_Known = Mapping[str, tuple[str, str, str]]
"""By its name there: the family and the stat here, and the difference, "" for none."""

_CHOICE: _Known = {
    "acc": ("option_likelihood", "likeliest_option", ""),
    "acc_norm": ("option_likelihood", "likeliest_option_per_character", ""),
    "acc_bytes": ("option_likelihood", "likeliest_option_per_byte", ""),
}
_GENERATION: _Known = {
    "exact_match": ("exact_match", "exact_match", ""),
    "f1": ("f1", "f1_score", "f1 is of the distinct words of each answer"),
    "bleu": ("bleu", "bleu_4", "bleu is of each answer by itself and of 4-grams alone"),
    "rouge1": ("rouge", "rouge_1", ""),
    "rouge2": ("rouge", "rouge_2", ""),
    "rougeL": ("rouge", "rouge_l", ""),
    "rougeLsum": ("rouge", "rouge_l", "rougeLsum is rouge_l of the whole answer"),
}
_TARGET: _Known = {
    "perplexity": ("bits_per_byte", "perplexity", "perplexity is of a token, lm_eval's of a whole target"),
}
_ROLLING: _Known = {
    "bits_per_byte": ("bits_per_byte", "bits_per_byte", ""),
    "byte_perplexity": (
        "bits_per_byte",
        "bits_per_byte",
        "byte_perplexity is 2 to the power of bits_per_byte",
    ),
    "word_perplexity": ("bits_per_byte", "bits_per_byte", "bits_per_byte in place of word_perplexity"),
}
_BY_TYPE: Mapping[str, tuple[_Known, tuple[str, ...]]] = {
    "multiple_choice": (_CHOICE, ("acc", "acc_norm")),
    "generate_until": (_GENERATION, ("exact_match",)),
    "loglikelihood": (_TARGET, ("perplexity",)),
    "loglikelihood_rolling": (_ROLLING, ("bits_per_byte",)),
}
"""What is known of each output type, and its metrics by default."""


def measures(kind: str, metric_list: Sequence[Mapping[str, Any]] | None) -> Measures:
    """The metrics of a task of the output type ``kind``; the first that is known here ranks. Raises ConfigError where
    none is."""
    known, usual = _BY_TYPE[kind]
    wanted = list(metric_list or [{"metric": name} for name in usual])
    names = [str(getattr(one["metric"], "__name__", one["metric"])) for one in wanted]
    found = [known[name] for name in names if name in known]
    if not found:
        raise ConfigError(
            f"metric_list: none of {', '.join(names)} is measured here",
            hint=f"known for {kind}: {', '.join(known)}",
        )
    notes = [difference for _, _, difference in found if difference]
    lost = [name for name in names if name not in known]
    if lost:
        notes.append(f"not measured: {', '.join(lost)}")
    families = [family for family, _, _ in found]
    if kind == "multiple_choice":
        families.append("exact_match")
    main = found[0][1]
    lenient = _leniencies(wanted)
    if main == "exact_match" and lenient:
        main = "quasi_exact_match"
        notes.append(f"quasi_exact_match in place of exact_match with {', '.join(lenient)}")
    return Measures(families=tuple(dict.fromkeys(families)), main=main, notes=tuple(dict.fromkeys(notes)))


def _leniencies(wanted: Sequence[Mapping[str, Any]]) -> list[str]:
    names = ("ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore")
    return [
        name for name in names if any(one.get("metric") == "exact_match" and one.get(name) for one in wanted)
    ]


def filtered(made: Measures, filter_list: Sequence[Mapping[str, Any]] | None, *, number: bool) -> Measures:
    """The measures where answers are filtered first. A regular expression that looks for a ``number``, the target
    being one, is the last number of the answer. Raises ConfigError for other filters."""
    steps = [step for one in filter_list or () for step in one["filter"]]
    names = [str(getattr(step["function"], "__name__", step["function"])) for step in steps]
    strange = [name for name in dict.fromkeys(names) if name not in HARMLESS]
    if not strange:
        return made
    if strange == ["lowercase"] and "exact_match" in made.families:
        note = "quasi_exact_match in place of exact_match in lower case"
        return Measures(families=made.families, main="quasi_exact_match", notes=(*made.notes, note))
    if strange == ["regex"] and number and "exact_match" in made.families:
        note = "the last numbers of answer and target are compared, in place of regular expressions"
        families = (*made.families, "numeric")
        notes = (note, *(one for one in made.notes if not one.startswith("quasi_exact_match")))
        return Measures(families=families, main="final_number_exact_match", notes=notes)
    raise ConfigError(
        f"filter_list: nothing here does what {', '.join(strange)} does to an answer",
        hint="write the scenario in TOML or Python (docs/evaluation.md)",
    )
