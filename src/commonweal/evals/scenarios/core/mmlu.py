"""MMLU: multiple-choice questions on 57 subjects (Hendrycks et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.choices import letter, question
from commonweal.evals.scenarios.helm_adaptations import CHOICE, METHODS, by_method
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import texts

SUBJECTS = (
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_medicine",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "econometrics",
    "electrical_engineering",
    "elementary_mathematics",
    "formal_logic",
    "global_facts",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_european_history",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_mathematics",
    "high_school_microeconomics",
    "high_school_physics",
    "high_school_psychology",
    "high_school_statistics",
    "high_school_us_history",
    "high_school_world_history",
    "human_aging",
    "human_sexuality",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "machine_learning",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "moral_disputes",
    "moral_scenarios",
    "nutrition",
    "philosophy",
    "prehistory",
    "professional_accounting",
    "professional_law",
    "professional_medicine",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
    "virology",
    "world_religions",
)
HELM_SUBJECTS = (
    "abstract_algebra",
    "college_chemistry",
    "computer_security",
    "econometrics",
    "us_foreign_policy",
)
"""The five that HELM measures."""

ARGS = {"subject": SUBJECTS, "method": METHODS}
_COLUMNS = ("question", "A", "B", "C", "D", "answer")
_EVALUATED: tuple[tuple[Split, str, str], ...] = (("valid", "val", "validation"), ("test", "test", "test"))
_SAMPLE = Local(path="mmlu_57_sample/mmlu_57_sample.jsonl")


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """The original files, numbered as HELM numbers them: the five examples (dev), then val, then test. The sample of
    HELM's runs has its numbers, and no examples: they come from the original, or there are none."""
    subject = chosen(args, ARGS, "subject")
    number = count()
    for row in examples(loader, *_original(subject, "dev", "dev")):
        yield _question(row, subject, next(number), "train")
    for split, name, hub in _EVALUATED:
        for row in loader.rows(*_original(subject, name, hub), _SAMPLE):
            if row.get("subject", subject) == subject and row.get("split", split) == split:
                yield _question(row, subject, next(number), split)


def _original(subject: str, name: str, hub: str) -> tuple[Local, Hub]:
    return (
        Local(path=f"mmlu/{name}/{subject}_{name}.csv", columns=_COLUMNS),
        Hub(path="cais/mmlu", revision="main", config=subject, split=hub),
    )


def _question(row: Row, subject: str, number: int, split: Split) -> Instance:
    if "choices" in row:
        choices, correct = texts(row, "choices"), field(row, "answer", int)
    else:
        choices = [field(row, name) for name in "ABCD"]
        correct = letter(row, field(row, "answer"), choices)
    id = field(row, "id") if "id" in row else f"id{number}"
    return question(row, field(row, "question"), choices, correct, id=id, split=split, subset=subject)


def _vary(adaptation: Adaptation, args: Args) -> Adaptation:
    subject = chosen(args, ARGS, "subject").replace("_", " ")
    return by_method(replace(adaptation, instructions=_INSTRUCTIONS.format(subject=subject)), args)


_INSTRUCTIONS = "The following are multiple choice questions (with answers) about {subject}.\n"

MMLU = Scenario(
    name="mmlu",
    title="MMLU",
    description="Knowledge in 57 subjects, from elementary mathematics to law: four choices, one correct.",
    source="Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300",
    licence="MIT",
    read=read,
    adaptation=joint(instructions=_INSTRUCTIONS.format(subject="{subject}"), input_noun="Question"),
    main_metric="exact_match",
    metrics=CHOICE,
    tags=("core", "knowledge", "multiple_choice"),
    args=ARGS,
    vary=_vary,
)
