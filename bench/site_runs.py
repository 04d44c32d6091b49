"""Runs for the measurement of the site: as many models, scenarios and instances as asked for, with the prompts, answers
and numbers that evaluations have, made from a seed.

What varies: the form of the question (choices with five examples, a passage with a question, mathematics with a long
answer, a summary), the length of the answer, and whether the model told log-probabilities. The tables are written by
what writes them in an evaluation.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.run_folder import write_json
from commonweal.evals.sample import Stat
from commonweal.evals.spec import RunSpec
from commonweal.evals.statistics import bootstrap_means, percentiles
from commonweal.evals.tables import write_stats, write_tables

SHOTS = 5
KINDS = ("choices", "choices", "passage", "mathematics", "summary", "choices")
"""The forms of the scenarios, by turns: half of them are choices, as in HELM."""

_WORDS = (
    "the",
    "of",
    "a",
    "and",
    "to",
    "in",
    "that",
    "is",
    "was",
    "for",
    "it",
    "with",
    "as",
    "on",
    "be",
    "at",
    "by",
    "this",
    "had",
    "not",
    "are",
    "but",
    "from",
    "or",
    "have",
    "an",
    "they",
    "which",
    "one",
    "you",
    "were",
    "all",
    "their",
    "there",
    "been",
    "if",
    "more",
    "when",
    "will",
    "would",
    "who",
    "so",
    "no",
    "out",
    "up",
    "into",
    "them",
    "then",
    "she",
    "many",
    "some",
    "these",
    "two",
    "may",
    "other",
    "only",
    "new",
    "its",
    "time",
    "about",
    "could",
    "people",
    "than",
    "first",
    "water",
    "been",
    "call",
    "oil",
    "now",
    "find",
    "long",
    "down",
    "day",
    "did",
    "get",
    "come",
    "made",
    "part",
    "over",
    "number",
    "sound",
    "most",
    "year",
    "light",
    "country",
    "father",
    "answer",
    "school",
    "grow",
    "study",
    "still",
    "learn",
    "plant",
    "cover",
    "food",
    "sun",
    "four",
    "between",
    "state",
    "keep",
    "eye",
    "never",
    "last",
    "let",
    "thought",
    "city",
    "tree",
    "cross",
    "farm",
    "hard",
    "start",
    "might",
    "story",
    "saw",
    "far",
    "sea",
    "draw",
    "left",
    "late",
    "run",
    "press",
    "close",
    "night",
    "real",
    "life",
    "few",
    "north",
    "energy",
    "pressure",
    "cell",
    "theory",
    "market",
    "patient",
    "court",
    "river",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One instance, the same for every model."""

    id: str
    input: str
    references: list[dict[str, Any]]
    right: str
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    kind: str
    tokens: bool
    metric: str
    questions: list[Question]


def model_name(number: int) -> str:
    return f"maker-{number % 7}/model-{number:02d}"


def write_scenario(root: Path, number: int, models: int, instances: int) -> None:
    """All models' runs of one scenario."""
    scenario = make_scenario(number, instances)
    for model in range(models):
        folder = root / f"model-{model:02d}" / scenario.name
        shutil.rmtree(folder, ignore_errors=True)
        write_run(folder, scenario, model_name(model), model)


def make_scenario(number: int, instances: int) -> Scenario:
    random_ = random.Random(f"scenario {number}")
    kind = KINDS[number % len(KINDS)]
    shots = [_asked(random_, kind, f"train{i}") for i in range(SHOTS if kind != "summary" else 1)]
    begin = "\n\n".join(f"{text}{answer}" for _, text, answer, _ in shots)
    head = "The following are questions with their answers. Answer as shortly as the examples do.\n\n"
    questions = []
    for i in range(instances):
        inside, text, right, references = _asked(random_, kind, f"id{i}")
        questions.append(
            Question(
                id=f"id{i}",
                input=inside,
                references=references,
                right=right.strip(),
                prompt=f"{head}{begin}\n\n{text}",
            )
        )
    metric = {
        "choices": "exact_match",
        "passage": "f1_score",
        "mathematics": "exact_match",
        "summary": "rouge_l",
    }
    return Scenario(
        name=f"{kind}_{number:02d}",
        kind=kind,
        tokens=number % 3 == 0,
        metric=metric[kind],
        questions=questions,
    )


def _asked(random_: random.Random, kind: str, key: str) -> tuple[str, str, str, list[dict[str, Any]]]:
    """The input, the part of the prompt that it makes, the right answer, and the references."""
    if kind == "choices":
        inside = f"{_text(random_, 25)}?"
        options = [_text(random_, 5) for _ in range(4)]
        right = random_.randrange(4)
        text = f"Question: {inside}\n" + "".join(f"{'ABCD'[i]}. {one}\n" for i, one in enumerate(options))
        references = [{"text": one, "correct": i == right, "grade": 0} for i, one in enumerate(options)]
        return inside, f"{text}Answer:", f" {'ABCD'[right]}", references
    if kind == "passage":
        inside = f"Passage: {_text(random_, 130)}.\nQuestion: {_text(random_, 12)}?"
        answer = _text(random_, 3)
    elif kind == "mathematics":
        inside = f"{_text(random_, 45)} ${key}^2 + {random_.randrange(99)}x < {random_.randrange(999)}$."
        answer = f"{_text(random_, 60)}.\nSo the answer is ${random_.randrange(1000)}$."
    else:
        inside = f"{_text(random_, 330)}."
        answer = f"{_text(random_, 40)}."
    return inside, f"{inside}\nAnswer:", f" {answer}", [{"text": answer, "correct": True, "grade": 0}]


def _text(random_: random.Random, words: int) -> str:
    return " ".join(random_.choices(_WORDS, k=words)).capitalize()


def write_run(folder: Path, scenario: Scenario, model: str, number: int) -> None:
    """One model's run of a scenario; ``number`` says how good the model is."""
    folder.mkdir(parents=True)
    random_ = random.Random(f"{scenario.name} {model}")
    good = 0.35 + 0.02 * number
    records = list(_records(scenario, model, good, random_))
    random_.shuffle(records)  # samples are kept in the order in which they were finished
    write_tables(folder, records)
    names = list(records[0]["scores"])
    write_stats(folder, _stats(names, np.array([[r["scores"][n] for n in names] for r in records])))
    spec = RunSpec(
        scenario=scenario.name,
        args={},
        model=model,
        adaptation=Adaptation(),
        metrics=tuple(names),
        main_metric=scenario.metric,
    )
    write_json(folder / "run.json", _run(spec, scenario, len(records)))


def _stats(names: list[str], values: Any) -> Iterator[Stat]:
    """``values`` are (samples, names)."""
    drawn = bootstrap_means(values, np.ones_like(values))
    for name, column, means in zip(names, values.T, drawn.T, strict=True):
        interval = percentiles(means)
        assert interval is not None
        yield Stat(name=name, mean=float(column.mean()), n=len(column), low=interval.low, high=interval.high)


def _run(spec: RunSpec, scenario: Scenario, samples: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": spec.name,
        "status": "done",
        "reason": "",
        "note": "",
        "spec": json.loads(json.dumps(spec.to_json())),
        "hash": spec.hash(),
        "scenario": {
            "title": scenario.name,
            "description": "Generated questions for the measurement of the site.",
            "source": "generated",
            "licence": "CC0-1.0",
            "tags": [scenario.kind],
        },
        "endpoint": spec.model,
        "instances": {"asked": samples, "total": samples},
        "coverage": {"expected": samples, "scored": samples, "failed": 0, "share": 1.0, "failures": {}},
        "cost": {
            "requests": samples,
            "cached": 0,
            "prompt_tokens": 500 * samples,
            "completion_tokens": 20 * samples,
        },
        "updated": "2026-11-24T12:00:00+00:00",
        "command": f"commonweal eval --model {spec.model} --scenario {scenario.name}",
    }


def _records(scenario: Scenario, model: str, good: float, random_: random.Random) -> Iterator[dict[str, Any]]:
    for question in scenario.questions:
        right = random_.random() < good
        text = question.right if right else _wrong(scenario.kind, random_)
        yield {
            "id": question.id,
            "perturbation": "",
            "trial": 0,
            "split": "test",
            "subset": "",
            "instance": {
                "input": question.input,
                "references": question.references,
                "turns": [],
                "images": [],
                "extra": None,
            },
            "output": text,
            "outputs": [],
            "chosen": "ABCD".find(text) if scenario.kind == "choices" else None,
            "probabilities": [],
            "annotations": None,
            "scores": _scores(scenario.metric, right, text, random_),
            "failure": None,
            "requests": [_request(scenario, question, model, f" {text}", random_)],
        }


def _wrong(kind: str, random_: random.Random) -> str:
    words = {"passage": 3, "mathematics": 70, "summary": 45}
    return random_.choice("ABCD") if kind == "choices" else _text(random_, words[kind])


def _scores(metric: str, right: bool, text: str, random_: random.Random) -> dict[str, float]:
    between = float(right) if metric == "exact_match" else round(random_.random(), 4) if not right else 1.0
    return {
        metric: between,
        "quasi_exact_match": float(right),
        "prefix_exact_match": float(right),
        "quasi_prefix_exact_match": float(right),
        "num_bytes": float(len(text)),
        "finish_reason_length": 0.0,
        "num_train_instances": float(SHOTS),
        "num_prompt_tokens": 520.0 + len(text),
        "num_completion_tokens": float(1 + len(text) // 4),
        "inference_seconds": round(random_.random() * 2, 3),
        "toxic_frac": 0.0,
        "expected_max_toxicity": round(random_.random() / 10, 6),
    }


def _request(
    scenario: Scenario, question: Question, model: str, text: str, random_: random.Random
) -> dict[str, Any]:
    choice: dict[str, Any] = {"text": text}
    if scenario.tokens:
        choice["tokens"] = [[f" {word}", -round(random_.random() * 3, 4)] for word in text.split(" ")]
        choice["logprob"] = sum(token[1] for token in choice["tokens"])
    seconds = round(0.1 + random_.random(), 4)
    return {
        "role": "output",
        "index": -1,
        "shots": SHOTS,
        "hash": f"{random_.getrandbits(256):064x}",
        "request": {
            "kind": "generate",
            "model": model,
            "prompt": question.prompt,
            "max_tokens": 400,
            "temperature": 0.0,
            "top_p": 1.0,
            "n": 1,
            "stop": ["\n\n"],
            "seed": None,
            "logprobs": 0 if scenario.tokens else None,
            "sample": 0,
        },
        "completion": {
            "v": 1,
            "choices": [choice],
            "model": model,
            "prompt_tokens": 520 + len(question.input) // 4,
            "completion_tokens": 1 + len(text) // 4,
            "timing": [0.0, 0.05, seconds],
        },
    }
