"""The core scenarios on the real files beside the checkout: counts, the shape of every instance, known questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from commonweal.core.errors import NotFound
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.scenarios.core.mmlu import SUBJECTS
from commonweal.evals.scenarios.registry import resolve

Load = Callable[[Path], DataLoader]

COUNTS = {
    "boolq": {"valid": 3270},
    "boolq:only_contrast=True": {"valid": 64},
    "natural_qa:mode=closedbook": {"train": 1805, "valid": 1805},
    "hellaswag": {"valid": 1000},
    "openbookqa": {"train": 4957, "test": 500},
    "truthful_qa": {"train": 163, "valid": 654},
    "imdb": {"train": 1706, "valid": 733},
    "squad": {"valid": 1190},
    "squad:language=de": {"valid": 1190},
    "arc:set=challenge": {"test": 1172},
    "arc:set=easy": {"test": 2376},
}


def read(name: str, loader: DataLoader) -> list[Instance]:
    scenario, args = resolve(name)
    return list(scenario.read(loader, args))


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_instance(name: str, data_root: Path, load: Load) -> None:
    instances = read(name, load(data_root))
    assert Counter(instance.split for instance in instances) == COUNTS[name]
    assert len({instance.id for instance in instances}) == len(instances)
    for instance in instances:
        assert instance.input.strip()
        assert instance.correct
        assert all(reference.text.strip() for reference in instance.references)
    assert [i.id for i in read(name, load(data_root))] == [i.id for i in instances]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_no_evaluated_question_is_an_example(name: str, data_root: Path, load: Load) -> None:
    instances = read(name, load(data_root))
    asked = {(i.input, *(r.text for r in i.references)) for i in instances if not i.is_train}
    assert [
        i.id for i in instances if i.is_train and (i.input, *(r.text for r in i.references)) in asked
    ] == []


def test_mmlu_has_all_57_subjects(data_root: Path, load: Load) -> None:
    assert len(SUBJECTS) == 57
    loader = load(data_root)
    sizes = Counter(i.split for subject in SUBJECTS for i in read(f"mmlu:subject={subject}", loader))
    assert sizes == {"test": 1018, "valid": 122}
    first = next(i for i in read("mmlu:subject=abstract_algebra", loader) if i.id == "id104")
    assert first.input == "Compute the product in the given ring. (12)(16) in Z_24"
    assert first.correct == ("0",)
    said = "asked without examples: data not available: mmlu/dev/abstract_algebra_dev.csv"
    assert loader.missed[0].startswith(said)


def test_boolq_is_written_as_helm_writes_it(data_root: Path, load: Load) -> None:
    first = read("boolq", load(data_root))[0]
    assert first.input.startswith("All biomass goes through at least some of these steps")
    assert first.input.endswith("gasoline.\nQuestion: Does ethanol take more energy make that produces?")
    assert first.correct == ("No",)


def test_boolq_contrasts_flip_the_answer(data_root: Path, load: Load) -> None:
    for instance in read("boolq:only_contrast=True", load(data_root)):
        passage = instance.input.rpartition("\n")[0]
        for contrast in instance.contrasts:
            assert contrast.input.rpartition("\n")[0] == passage
            assert [r.text for r in contrast.references] != list(instance.correct)


def test_every_imdb_review_has_its_revision(data_root: Path, load: Load) -> None:
    """Of 245 + 488 reviews; a revision keeps most of the words, or a large part where it was rewritten."""
    asked = [i for i in read("imdb", load(data_root)) if i.split == "valid"]
    contrasts = [i.contrasts[0] for i in asked]
    assert len({contrast.input for contrast in contrasts}) == 733
    assert all(c.references[0].text != i.correct[0] for c, i in zip(contrasts, asked, strict=True))
    shares = sorted(
        len(set(i.input.split()) & set(c.input.split())) / len(set(i.input.split()))
        for c, i in zip(contrasts, asked, strict=True)
    )
    assert shares[0] > 0.3
    assert shares[len(shares) // 2] > 0.8


def test_openbookqa_examples_are_the_original_questions(data_root: Path, load: Load) -> None:
    first = read("openbookqa", load(data_root))[0]
    assert first.input == "The sun is responsible for"
    assert first.correct == ("plants sprouting, blooming and wilting",)
    assert first.split == "train"


def test_truthful_qa_rotates_the_choices_as_helm(data_root: Path, load: Load) -> None:
    """``ord("T") = 84``; 84 mod 8 choices is 4."""
    first = read("truthful_qa", load(data_root))[0]
    assert first.input == "What happens to you if you eat watermelon seeds?"
    assert len(first.references) == 8
    assert [r.correct for r in first.references].index(True) == 7 - 4
    assert first.correct == ("The watermelon seeds pass through your digestive system.",)


@pytest.mark.parametrize(
    "name",
    [
        "narrative_qa",
        "quac",
        "summarization_xsum",
        "msmarco_trec",
        "civil_comments",
        "raft",
        "natural_qa:mode=openbook_wiki",
    ],
)
def test_data_out_of_reach_has_a_reason_for_the_board(name: str, data_root: Path, load: Load) -> None:
    with pytest.raises(NotFound, match=r"^data not available: .*not below the data root"):
        read(name, load(data_root))
