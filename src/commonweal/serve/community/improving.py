"""From feedback to a model's next version, step by step. Each step is a function that is handed in: ``serve`` cannot
train and does not evaluate.

    build      the data set of all feedback that may be used            (datasets.make)
    train      a candidate from the training side                       (a fine-tuning job)
    score      log-probabilities, by which the held-out side measures   (a completer)
    guard      the guard scenarios of both models                       (an evaluation and its comparison)
    promote    the candidate takes the model's place                    (the catalogue)

The outcome says which feedback went in, what was measured, and why it was promoted or refused. A refused candidate is
kept under its own name: the outcome is evidence too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.core.errors import UserError
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.gate import Decision, GateRules, Scenario, decide
from commonweal.serve.community.heldout import Question, Score, compared, measure, questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """``read`` gives a data set's file. ``train`` is given the model's name and the data set and returns the
    candidate's name. ``guard`` compares current and candidate, by their names. ``promote`` is given both names and the
    decision."""

    build: Callable[[], DataSet]
    read: Callable[[DataSet, str], bytes]
    train: Callable[[str, DataSet], str]
    score: Score
    guard: Callable[[str, str], Sequence[Scenario]]
    promote: Callable[[str, str, Decision], None]
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """What came of it. ``feedback`` are the ids of all that went into the data set, both sides."""

    model: str
    candidate: str
    dataset: str
    feedback: tuple[str, ...]
    licences: Mapping[str, int]
    examples: Mapping[str, int]
    decision: Decision

    def lineage(self) -> dict[str, Any]:
        """For the candidate's row in the catalogue, and its label."""
        return {
            "parent": self.model,
            "dataset": self.dataset,
            "feedback": len(self.feedback),
            "licences": dict(self.licences),
            "gate": {"verdict": self.decision.verdict, "reason": self.decision.reason},
        }


def improve(model: str, steps: Steps, rules: GateRules) -> Improved:
    """All steps. Raises UserError before anything is trained where the data set has no training or no held-out side."""
    dataset = steps.build()
    counts = {name: file["examples"] for name, file in dataset.manifest["files"].items()}
    steps.say(f"data set {dataset.id}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    held_out = tuple(_held_out(dataset, steps))
    _enough(dataset, held_out, rules)
    candidate = steps.train(model, dataset)
    steps.say(f"trained {candidate} from {model}")
    before = measure(held_out, model, steps.score)
    after = measure(held_out, candidate, steps.score)
    steps.say(f"measured both on {len(held_out)} held-out lines")
    decision = decide(compared(before, after), steps.guard(model, candidate), rules)
    steps.say(decision.reason)
    if decision.verdict == "promote":
        steps.promote(model, candidate, decision)
    return Improved(
        model=model,
        candidate=candidate,
        dataset=dataset.id,
        feedback=tuple(dataset.manifest["feedback"]),
        licences=dataset.manifest["licences"],
        examples=counts,
        decision=decision,
    )


def _held_out(dataset: DataSet, steps: Steps) -> list[Question]:
    return [
        question
        for name in dataset.files
        if name.endswith(".heldout.jsonl")
        for question in questions(name, steps.read(dataset, name))
    ]


def _enough(dataset: DataSet, held_out: Sequence[Question], rules: GateRules) -> None:
    if not any(name.endswith(".train.jsonl") for name in dataset.files):
        raise UserError(
            "there is nothing to train on: all feedback stands on the held-out side",
            hint="collect feedback from more conversations, or hold out less",
        )
    counts = {format: sum(q.format == format for q in held_out) for format in ("dpo", "sft", "kto")}
    if max(counts.values()) < rules.fewest_held_out:
        raise UserError(
            f"{len(held_out)} held-out examples are too few to tell whether a candidate is better",
            hint=f"at least {rules.fewest_held_out} of one kind are needed: collect more feedback",
        )
