"""Medical questions: MedQA (US licensing exams) and PubMedQA (yes, no or maybe, from an abstract). HELM's prompts."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.loading.loader import examples
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import github

_LETTERS = "ABCD"
_VERDICTS = ("yes", "no", "maybe")
_SPLITS = {"split": ("all", "official")}

_MEDQA = github(
    "xk-huang/medagents-benchmark",
    "56ca11eb1ef89f6bb7fad6284008bf39e08785b0",
    "data/medqa/test.jsonl",
    "b0536be0ff396be91eb0cf61a42056b0abef06a23e7e8be491d62fd959b77b72",
)
"""The authors' own files are an archive on Google's drive; this is a copy of the test split."""

_PUBMEDQA, _PUBMEDQA_TEST = (
    github("pubmedqa/pubmedqa", "1cbae8e92f72f20c8d3747cbb3bf5bc53554d997", f"data/{name}.json", sha256)
    for name, sha256 in (
        ("ori_pqal", "8b3276be8942ebbd77f3ddcda12c1749bf0e490045a736fd8438ee40cf37a41d"),
        ("test_ground_truth", "939fe566f09017d13b1ca64d2ddfee0bc2374b366048152997669cccedc44d51"),
    )
)


def _medqa(loader: Loader, args: Args) -> Iterator[Instance]:
    for row in examples(loader, Local(path="medqa/medqa_us_4opt_train.jsonl")):
        yield _exam(row, "train")
    for row in loader.rows(Local(path="medqa/medqa_us_4opt_test.jsonl"), _MEDQA):
        yield _exam(row, "test")


def _exam(row: Row, split: str) -> Instance:
    options, right = field(row, "options", dict), field(row, "answer_idx")
    if sorted(options) != list(_LETTERS) or right not in options:
        raise bad(row, "expected 4 options A to D, one of them named by answer_idx")
    return Instance(
        id=f"{split}-{row['__line__']}",
        input=field(row, "question"),
        split="train" if split == "train" else "test",
        references=tuple(
            Reference(text=str(text).rstrip('"').rstrip(), correct=letter == right)
            for letter, text in options.items()
        ),
    )


def _pubmedqa(loader: Loader, args: Args) -> Iterator[Instance]:
    official = chosen(args, _SPLITS, "split") == "official"
    tested: Row = (
        next(iter(loader.rows(Local(path="pubmedqa/test_ground_truth.json"), _PUBMEDQA_TEST)))
        if official
        else {}
    )
    for number, row in _abstracts(loader):
        if official and number not in tested:
            continue
        labels, contexts = field(row, "LABELS", list), field(row, "CONTEXTS", list)
        verdict = field(row, "final_decision")
        if verdict not in _VERDICTS or len(labels) != len(contexts):
            raise bad(row, f"abstract {number}: expected yes, no or maybe, and a label for each context")
        background = "\n".join(
            f"{label.title()}. {text}" for label, text in zip(labels, contexts, strict=True)
        )
        yield Instance(
            id=number,
            input=f"Context: {background}\n\nQuestion: {field(row, 'QUESTION')}\n",
            references=tuple(Reference(text=text, correct=text == verdict) for text in _VERDICTS),
        )


def _abstracts(loader: Loader) -> Iterator[tuple[str, Row]]:
    """The authors' file is one object, by PubMed number."""
    for whole in loader.rows(Local(path="pubmedqa/ori_pqal.json"), _PUBMEDQA):
        for number, row in whole.items():
            if isinstance(row, dict):
                yield number, {"__file__": whole["__file__"], **row}


MEDICINE = (
    Scenario(
        name="med_qa",
        title="MedQA",
        description="Questions of the US medical licensing exams with four answers. The public copy has the test "
        "split; without medqa_us_4opt_train.jsonl beside it, questions are asked without examples.",
        source="Jin et al. 2021, What Disease does this Patient Have?, arXiv 2009.13081; github.com/jind11/MedQA",
        licence="MIT",
        read=_medqa,
        adaptation=joint(
            instructions="The following are multiple choice questions (with answers) about medicine.",
            input_noun="Question",
        ),
        main_metric="exact_match",
        metrics=("exact_match", "multiple_choice", "calibration", "efficiency"),
        tags=("knowledge", "medicine", "multiple_choice"),
    ),
    Scenario(
        name="pubmed_qa",
        title="PubMedQA",
        description="Questions on abstracts of biomedical papers, answered yes, no or maybe: all 1,000 that experts "
        "labelled (as HELM), or the authors' 500 test questions (split=official).",
        source="Jin et al. 2019, PubMedQA, EMNLP, arXiv 1909.06146; github.com/pubmedqa/pubmedqa",
        licence="MIT",
        read=_pubmedqa,
        adaptation=joint(
            instructions="Answer A for yes, B for no or C for maybe. Do not include any explanation or additional "
            "text. Output only the letter on a single line.",
            input_noun="Question",
            shots=0,
        ),
        main_metric="exact_match",
        metrics=("exact_match", "multiple_choice", "calibration", "efficiency"),
        tags=("knowledge", "medicine", "multiple_choice"),
        args=_SPLITS,
    ),
)
