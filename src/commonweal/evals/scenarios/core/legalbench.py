"""LegalBench (Guha et al. 2023): the five of its tasks that HELM Lite asks, one for each kind of legal reasoning.

Instructions, names of fields and nouns are HELM's, which it reads from the authors' ``helm_prompt_settings.jsonl``
(github.com/HazyResearch/legalbench); the rows are those of the hub at HELM's revision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.helm_adaptations import CHOICE
from commonweal.evals.scenarios.prompting import generation

_HUB = "nguha/legalbench"
_REVISION = "e042ea68c19df12b737fe768572f22ead61e8e37"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """``fields`` are (what the prompt calls it, its column), ``noun`` what stands before the answer."""

    instructions: str
    fields: tuple[tuple[str, str], ...]
    noun: str


TASKS = {
    "abercrombie": Task(
        instructions="A mark is generic if it is the common name for the product. A mark is descriptive if it "
        "describes a purpose, nature, or attribute of the product. A mark is suggestive if it suggests or implies a "
        "quality or characteristic of the product. A mark is arbitrary if it is a real English word that has no "
        "relation to the product. A mark is fanciful if it is an invented word. Label the type of mark for the "
        "following products.",
        fields=(("Description", "text"),),
        noun="Type",
    ),
    "corporate_lobbying": Task(
        instructions="You are a lobbyist analyzing Congressional bills for their impacts on companies. Given the "
        "title and summary of the bill, plus information on the company from its 10K SEC filing, it is your job to "
        "determine if a bill is at least somewhat relevant to a company in terms of whether it could impact the "
        "company's bottom-line if it was enacted (by saying Yes or No).",
        fields=(
            ("Official title of bill", "bill_title"),
            ("Official summary of bill", "bill_summary"),
            ("Company name", "company_name"),
            ("Company business description", "company_description"),
        ),
        noun="Label",
    ),
    "international_citizenship_questions": Task(
        instructions="Answer the following questions considering the state of international law on January 1st, "
        "2020. Answer Yes or No.",
        fields=(("Question", "question"),),
        noun="Answer",
    ),
    "function_of_decision_section": Task(
        instructions="Classify the following text using the following definitions.\n\n"
        "- Facts: The paragraph describes the factual background that led up to the present lawsuit.\n"
        "- Procedural History: The paragraph describes the course of litigation that led to the current proceeding "
        "before the court.\n"
        "- Issue: The paragraph describes the legal or factual issue that must be resolved by the court.\n"
        "- Rule: The paragraph describes a rule of law relevant to resolving the issue.\n"
        "- Analysis: The paragraph analyzes the legal issue by applying the relevant legal principles to the facts "
        "of the present dispute.\n"
        "- Conclusion: The paragraph presents a conclusion of the court.\n"
        "- Decree: The paragraph constitutes a decree resolving the dispute.",
        fields=(("Text", "Paragraph"),),
        noun="Function",
    ),
    "proa": Task(
        instructions="A private right of action is when a regular person, a private citizen, is legally entitled to "
        "enforce their rights under a given statute. Does the clause specify a private right of action? Answer Yes "
        "or No.",
        fields=(("Statute", "text"),),
        noun="Answer",
    ),
}

ARGS = {"subset": tuple(TASKS)}


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train, then test."""
    return numbered(_drafts(loader, chosen(args, ARGS, "subset")))


def _drafts(loader: Loader, subset: str) -> Iterator[Draft]:
    for row in examples(loader, *_origins(subset, "train")):
        yield _draft(row, "train", subset)
    for row in loader.rows(*_origins(subset, "test")):
        yield _draft(row, "test", subset)


def _origins(subset: str, split: str) -> tuple[Local, Hub]:
    return (
        Local(path=f"legalbench/{subset}/{split}.tsv"),
        Hub(path=_HUB, revision=_REVISION, file=f"data/{subset}/{split}.tsv"),
    )


def _draft(row: Row, split: Split, subset: str) -> Draft:
    return Draft(
        input="\n".join(f"{name}: {field(row, column)}" for name, column in TASKS[subset].fields),
        references=answer(field(row, "answer")),
        split=split,
    )


def _vary(adaptation: Adaptation, args: Args) -> Adaptation:
    task = TASKS[chosen(args, ARGS, "subset")]
    return replace(adaptation, instructions=f"{task.instructions}\n", output_prefix=f"{task.noun}: ")


LEGALBENCH = Scenario(
    name="legalbench",
    title="LegalBench",
    description="Five kinds of legal reasoning: marks, lobbying, citizenship, parts of decisions, rights of action.",
    source="Guha et al. 2023, https://arxiv.org/abs/2308.11462",
    licence="by task, see https://huggingface.co/datasets/nguha/legalbench",
    read=read,
    adaptation=generation(output_noun="Type", max_tokens=30),
    main_metric="quasi_exact_match",
    metrics=CHOICE,
    tags=("lite", "law", "classification"),
    args=ARGS,
    vary=_vary,
)
