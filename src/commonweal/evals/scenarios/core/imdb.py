"""IMDB: is a movie review positive or negative (Maas et al. 2011), with contrast sets.

HELM's contrast sets are those of Gardner et al. 2020, whose files pair originals and changed reviews line by line.
The local ones are an earlier set of the same kind, counterfactual revisions of 733 of the reviews (Kaushik et al.
2020); their files are not in the same order, so each is paired with the original with which it shares most runs of
four words, if its label is the other one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from commonweal.evals.instance import Contrast, Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Origin, Row, Scenario
from commonweal.evals.scenarios.arguments import is_true
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.helm_adaptations import LABEL
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import one_of, rows_if_any

ARGS = {"only_contrast": ("False", "True")}

_HUB = "stanfordnlp/imdb"
_TRAIN: tuple[Origin, ...] = (
    Local(path="imdb_cad/sentiment_orig_train.tsv"),
    Hub(path=_HUB, revision="main", split="train"),
)
_DEV = Local(path="imdb_cad/sentiment_orig_dev.tsv")
_TEST: tuple[Origin, ...] = (
    Local(path="imdb_cad/sentiment_orig_test.tsv"),
    Hub(path=_HUB, revision="main", split="test"),
)
_words = re.compile(r"\w+").findall

Review = tuple[str, str]
"""Text and label."""
Contrasts = Mapping[str, Review]


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train and test; a review with a contrast is evaluated, and no example, wherever it stands (HELM's rule)."""
    only_contrast = is_true(args, ARGS, "only_contrast")
    contrasts = _contrasts(loader)
    asked: set[str] = set()
    for number, row in enumerate(examples(loader, *_TRAIN)):
        review = _review(row)
        if review[0] in contrasts:
            asked.add(review[0])
        yield _instance(review, f"train-{number}", "valid" if review[0] in contrasts else "train", contrasts)
    for id, review in _evaluated(loader):
        if review[0] not in asked and (review[0] in contrasts or not only_contrast):
            yield _instance(review, id, "valid", contrasts)


def _evaluated(loader: Loader) -> Iterator[tuple[str, Review]]:
    """The test set; where that is the local one, the dev set beside it too."""
    is_local = False
    for number, row in enumerate(loader.rows(*_TEST)):
        is_local = "Text" in row
        yield f"test-{number}", _review(row)
    for number, row in enumerate(rows_if_any(loader, _DEV) if is_local else ()):
        yield f"dev-{number}", _review(row)


def _instance(review: Review, id: str, split: Split, contrasts: Contrasts) -> Instance:
    text, label = review
    contrast = contrasts.get(text)
    return Instance(
        id=id,
        input=text,
        references=answer(label),
        split=split,
        contrasts=(Contrast(input=contrast[0], references=answer(contrast[1])),) if contrast else (),
    )


def _review(row: Row) -> Review:
    if "Text" in row:
        return field(row, "Text").strip(), one_of(row, "Sentiment", "Positive", "Negative")
    return field(row, "text").strip(), "Positive" if field(row, "label", int) else "Negative"


def _contrasts(loader: Loader) -> Contrasts:
    """The changed review of an original, by its text; none where the files are out of reach."""
    made: dict[str, Review] = {}
    for part in ("test", "dev"):
        originals = _reviews(loader, f"imdb/{part}_original.tsv", f"imdb_cad/sentiment_orig_{part}.tsv")
        if originals:
            changed = _reviews(loader, f"imdb/{part}_contrast.tsv", f"imdb_cad/sentiment_new_{part}.tsv")
            made.update(paired(originals, changed))
    return made


def _reviews(loader: Loader, *paths: str) -> list[Review]:
    return [_review(row) for row in rows_if_any(loader, *(Local(path=path) for path in paths))]


def paired(originals: Sequence[Review], revised: Sequence[Review]) -> dict[str, Review]:
    """Each original's text with its revision, which has the other label: line by line where that fits throughout,
    else the one that shares most runs of four words."""
    aligned = len(originals) == len(revised)
    if aligned and all(old[1] != new[1] for old, new in zip(originals, revised, strict=True)):
        return {old[0]: new for old, new in zip(originals, revised, strict=True)}
    places: dict[tuple[str, ...], list[int]] = {}
    for place, (text, _) in enumerate(revised):
        for run in _runs(text, 1):
            places.setdefault(run, []).append(place)
    made = {}
    for text, label in originals:
        shared = Counter(place for run in _runs(text, 2) for place in places.get(run, ()))
        best = next((place for place, _ in shared.most_common() if revised[place][1] != label), None)
        if best is not None:
            made[text] = revised[best]
    return made


def _runs(text: str, step: int) -> Iterator[tuple[str, ...]]:
    words = _words(text.lower())
    return (tuple(words[at : at + 4]) for at in range(0, max(1, len(words) - 3), step))


IMDB = Scenario(
    name="imdb",
    title="IMDB",
    description="Is a movie review positive or negative?",
    source="Maas et al. 2011, https://aclanthology.org/P11-1015; contrast sets: Gardner et al. 2020, "
    "Kaushik et al. 2020",
    licence="reviews: as published by their authors on imdb.com, for research; revisions: Apache-2.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Sentiment"),
    main_metric="quasi_exact_match",
    metrics=LABEL,
    tags=("core", "sentiment", "classification"),
    args=ARGS,
)
