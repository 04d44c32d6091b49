"""WMT 2014 (Bojar et al. 2014): news sentences translated between English and another language.

HELM draws its one example from 20,000 random pairs of the training split, whose largest has 40 million; here it comes
from the first 20,000, which is said in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.helm_adaptations import OPEN_ENDED
from commonweal.evals.scenarios.reading import table

LANGUAGES = {"cs": "Czech", "de": "German", "fr": "French", "hi": "Hindi", "ru": "Russian", "en": "English"}
INTO_ENGLISH = tuple(f"{language}-en" for language in LANGUAGES if language != "en")
ARGS = {"language_pair": (*INTO_ENGLISH, *(f"en-{pair.partition('-')[0]}" for pair in INTO_ENGLISH))}

_REVISION = "b199e406369ec1b7634206d3ded5ba45de2fe696"
_EXAMPLES = 20_000
_SPLITS: tuple[tuple[Split, str], ...] = (("valid", "validation"), ("test", "test"))


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train, without pairs whose translation was there before; then validation and test as they are."""
    source, target = chosen(args, ARGS, "language_pair").split("-")
    seen: set[str] = set()
    for number, row in enumerate(examples(loader, *_origins(source, target, "train", _EXAMPLES))):
        if number == _EXAMPLES:
            break
        example = _instance(row, number, "train", source, target)
        if example.correct[0] not in seen:
            seen.add(example.correct[0])
            yield example
    for split, name in _SPLITS:
        for number, row in enumerate(loader.rows(*_origins(source, target, name))):
            yield _instance(row, number, split, source, target)


def _origins(source: str, target: str, split: str, first: int = 0) -> tuple[Local, Hub]:
    config = f"{source if source != 'en' else target}-en"
    return (
        Local(path=f"wmt14/{config}/{split}.jsonl"),
        Hub(path="wmt/wmt14", revision=_REVISION, config=config, split=split, first=first),
    )


def _instance(row: Row, number: int, split: Split, source: str, target: str) -> Instance:
    pair = table(row, "translation")
    return Instance(
        id=f"{split}-{number}",
        input=field(pair, source),
        references=answer(field(pair, target)),
        split=split,
    )


def _vary(adaptation: Adaptation, args: Args) -> Adaptation:
    """``get_machine_translation_adapter_spec``."""
    source, target = (LANGUAGES[name] for name in chosen(args, ARGS, "language_pair").split("-"))
    return replace(
        adaptation,
        instructions=f"Translate the following sentences from {source} to {target}.",
        input_prefix=f"{source}: ",
        output_prefix=f"{target}: ",
    )


WMT14 = Scenario(
    name="wmt_14",
    title="WMT 2014",
    description="A sentence of the news, translated into or from English.",
    source="Bojar et al. 2014, https://aclanthology.org/W14-3302",
    licence="for research (WMT14)",
    read=read,
    adaptation=Adaptation(shots=1, stop=("\n\n",)),
    main_metric="bleu_4",
    metrics=OPEN_ENDED,
    tags=("lite", "translation"),
    args=ARGS,
    vary=_vary,
    note="as HELM's, but for the example: it comes from the first 20,000 pairs of the training split",
)
